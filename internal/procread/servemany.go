package procread

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rawfile"
)

// State of a process in the answer to requestBriefs.
const (
	briefNone = iota // not read
	briefRead
	briefGone
)

// briefHead is the length of the head of an encoded Brief: state uint8, lengths of
// program and arguments uint16.
const briefHead = 1 + 2 + 2

// briefs sends a Brief of each process, in the order of the request.
func (s *server) briefs(q request) error {
	// One byte more than the limit, to detect longer texts.
	program, args := s.chunk[:maxBrief+1], s.chunk[maxBrief+1:2*(maxBrief+1)]
	frame := s.briefFrame[:0]
	for _, w := range q.of {
		if len(frame)+briefHead+2*maxBrief > maxFrame {
			if err := s.out.write(frameData, frame); err != nil {
				return err
			}
			frame = frame[:0]
		}
		frame = appendBrief(frame, w, program, args)
	}
	s.briefFrame = frame
	return s.out.write(frameData, frame)
}

// appendBrief reads a process and appends its encoded Brief.
func appendBrief(b []byte, w Want, program, args []byte) []byte {
	dir := process.Dir(w.PID)
	n := 0
	if w.Program {
		var err error
		// There is no link if only the first thread of the process has ended.
		if n, err = unix.Readlink(dir+"/exe", program); err != nil || n > maxBrief {
			return appendState(b, briefNone)
		}
	}
	f, err := rawfile.Open(dir + "/cmdline")
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return appendState(b, briefGone)
	} else if err != nil {
		return appendState(b, briefNone)
	}
	// One read returns the whole text, or as much as fits.
	m, err := f.Read(args)
	f.Close()
	if err != nil || m > maxBrief {
		return appendState(b, briefNone)
	}
	b = append(b, briefRead)
	b = binary.LittleEndian.AppendUint16(b, uint16(n))
	b = binary.LittleEndian.AppendUint16(b, uint16(m))
	b = append(b, program[:n]...)
	return append(b, args[:m]...)
}

// appendState appends a Brief without texts.
func appendState(b []byte, state byte) []byte { return append(b, state, 0, 0, 0, 0) }

// decodeBrief decodes the Brief at the beginning of b, and returns the rest of b.
func decodeBrief(b []byte) (brief Brief, state int, rest []byte, err error) {
	if len(b) < briefHead {
		return Brief{}, 0, nil, fmt.Errorf("%d bytes of a process", len(b))
	}
	state = int(b[0])
	n, m := int(binary.LittleEndian.Uint16(b[1:])), int(binary.LittleEndian.Uint16(b[3:]))
	rest = b[briefHead:]
	if state > briefGone || n > maxBrief || m > maxBrief || len(rest) < n+m {
		return Brief{}, 0, nil, fmt.Errorf("a process of state %d, %d and %d bytes", state, n, m)
	}
	return Brief{Program: rest[:n], Args: rest[n : n+m], Gone: state == briefGone}, state, rest[n+m:], nil
}

// A Want is encoded as the pid, with the highest bit for Program.
const wantProgram = 1 << 31

func encodeWants(b []byte, of []Want) []byte {
	for _, w := range of {
		n := uint32(w.PID)
		if w.Program {
			n |= wantProgram
		}
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}

func decodeWants(b []byte) ([]Want, error) {
	if len(b)%4 != 0 || len(b) > 4*MaxMany {
		return nil, fmt.Errorf("%w: processes in %d bytes", errProtocol, len(b))
	}
	var of []Want
	for ; len(b) > 0; b = b[4:] {
		n := binary.LittleEndian.Uint32(b)
		of = append(of, Want{PID: int(n &^ wantProgram), Program: n&wantProgram != 0})
	}
	return of, nil
}
