package procread

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/cryptnono/cryptnono/internal/process"
)

// The protocol between a Reader and its children: requests and frames, little-endian, over
// two pipes. The child answers each request with frames, of which the last is frameEnd or
// frameError. Both sides check all lengths, because the child reads untrusted data.
//
//	request: length uint32, kind uint8, flags uint8, pid uint32, tid uint32,
//	         stack, argStart, argEnd, envStart uint64, and what is to be read:
//	         names separated by NUL, or Wants, or ranges (wireranges.go)
//	frame:   kind uint8, length uint32, content

const (
	requestHead = 4 + 2 + 2*4 + 4*8
	frameHead   = 5
	// maxNames is the maximum length of all names in a request, or of what is there in place
	// of them, in bytes.
	maxNames = 32 << 10
	// maxFrame is the maximum length of a frame's content, in bytes.
	maxFrame = 64 << 10
)

type requestKind uint8

const (
	requestArgs requestKind = iota + 1
	requestEnviron
	requestBriefs
	requestMaps
	requestFile
	requestMemory
	requestActivity
	requestProgram
	requestConnections
)

// requestNoMemory: do not read the process's memory, which can block forever. The
// arguments then count as rewritten.
const requestNoMemory = 1

// A request is for a file of one process, or for briefs of several.
type request struct {
	kind  requestKind
	flags uint8
	image process.Image
	names []string // of variables, for requestEnviron; or a path, for requestActivity; or see WantedProgram
	of    []Want   // for requestBriefs

	mapping Mapping // for requestFile: its addresses, device, inode and path
	ranges  []Range // for requestFile and requestMemory
}

// errProtocol: the received data violates the protocol.
var errProtocol = errors.New("unexpected data")

func (q request) encode() []byte {
	var tail []byte
	switch q.kind {
	case requestBriefs:
		tail = encodeWants(nil, q.of)
	case requestFile:
		tail = append(encodeRanges(encodeMapping(nil, q.mapping), q.ranges), q.mapping.Path...)
	case requestMemory:
		tail = encodeRanges(nil, q.ranges)
	default:
		tail = []byte(strings.Join(q.names, "\x00"))
	}
	b := make([]byte, 0, requestHead+len(tail))
	b = binary.LittleEndian.AppendUint32(b, uint32(cap(b)-4))
	b = append(b, byte(q.kind), q.flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(q.image.PID))
	b = binary.LittleEndian.AppendUint32(b, uint32(q.image.TID))
	for _, address := range []uint64{q.image.Stack, q.image.ArgStart, q.image.ArgEnd, q.image.EnvStart} {
		b = binary.LittleEndian.AppendUint64(b, address)
	}
	return append(b, tail...)
}

func readRequest(r io.Reader) (request, error) {
	var head [requestHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return request{}, err
	}
	length := binary.LittleEndian.Uint32(head[:])
	if length < requestHead-4 || length > requestHead-4+maxNames {
		return request{}, fmt.Errorf("%w: a request of %d bytes", errProtocol, length)
	}
	tail := make([]byte, length-(requestHead-4))
	if _, err := io.ReadFull(r, tail); err != nil {
		return request{}, err
	}
	q := request{kind: requestKind(head[4]), flags: head[5]}
	if q.kind < requestArgs || q.kind > requestConnections {
		return request{}, fmt.Errorf("%w: a request of kind %d", errProtocol, q.kind)
	}
	q.image.PID = int(binary.LittleEndian.Uint32(head[6:]))
	q.image.TID = int(binary.LittleEndian.Uint32(head[10:]))
	for i, address := range []*uint64{&q.image.Stack, &q.image.ArgStart, &q.image.ArgEnd, &q.image.EnvStart} {
		*address = binary.LittleEndian.Uint64(head[14+8*i:])
	}
	var err error
	switch {
	case q.kind == requestBriefs:
		q.of, err = decodeWants(tail)
	case q.kind == requestFile:
		q.mapping, tail, err = decodeMapping(tail)
		if err == nil {
			q.ranges, tail, err = decodeRanges(tail)
		}
		if len(tail) > maxPath {
			err = fmt.Errorf("%w: a path of %d bytes", errProtocol, len(tail))
		}
		q.mapping.Path = string(tail)
	case q.kind == requestMemory:
		q.ranges, tail, err = decodeRanges(tail)
		if err == nil && len(tail) > 0 {
			err = fmt.Errorf("%w: %d bytes after ranges", errProtocol, len(tail))
		}
	case len(tail) > 0:
		q.names = strings.Split(string(tail), "\x00")
	}
	return q, err
}

type frameKind uint8

const (
	frameHello frameKind = iota + 1 // first frame: id of the reading thread, uint32
	frameData                       // can be empty, as a keep-alive
	frameEnd                        // flags, uint8
	frameError                      // errno, uint32, and error text
)

const (
	endTruncated = 1 << iota
	endRewritten
	endEmpty   // the file was empty
	endChanged // the file was changed meanwhile
)

// readFrame reads the next frame into buf, which has at least maxFrame bytes.
func readFrame(r io.Reader, buf []byte) (frameKind, []byte, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	kind, length := frameKind(head[0]), binary.LittleEndian.Uint32(head[1:])
	if kind < frameHello || kind > frameError || length > maxFrame {
		return 0, nil, fmt.Errorf("%w: %q", errProtocol, head)
	}
	content := buf[:length]
	if _, err := io.ReadFull(r, content); err != nil {
		return 0, nil, err
	}
	short := false
	switch kind {
	case frameHello, frameError:
		short = length < 4
	case frameEnd:
		short = length < 1
	}
	if short {
		return 0, nil, fmt.Errorf("%w: a frame of kind %d and %d bytes", errProtocol, kind, length)
	}
	return kind, content, nil
}

// A fileError is an error of the child for a file. The connection is still usable.
type fileError struct {
	text  string
	errno syscall.Errno
}

func (e fileError) Error() string { return e.text }
func (e fileError) Unwrap() error { return e.errno }

// readAnswer reads the answer to a request and calls visit with its data, until visit
// returns an error. With a fileError the whole answer was read.
func readAnswer(r io.Reader, buf []byte, visit func([]byte) error) (flags byte, err error) {
	for {
		kind, content, err := readFrame(r, buf)
		if err != nil {
			return 0, err
		}
		switch kind {
		case frameHello:
			return 0, fmt.Errorf("%w: a second hello", errProtocol)
		case frameEnd:
			return content[0], nil
		case frameError:
			return 0, fileError{string(content[4:]), syscall.Errno(binary.LittleEndian.Uint32(content))}
		case frameData:
			if err := visit(content); err != nil {
				return 0, err
			}
		}
	}
}

// A frameWriter writes each frame with one call of Write, together with those that it holds.
type frameWriter struct {
	w   io.Writer
	buf []byte
}

func (w *frameWriter) write(kind frameKind, content []byte) error {
	w.hold(kind, content)
	return w.flush()
}

// flush writes what is held.
func (w *frameWriter) flush() error {
	_, err := w.w.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// hold is for a frame after which another one is written soon: each write wakes the agent.
func (w *frameWriter) hold(kind frameKind, content []byte) {
	w.buf = append(w.buf, byte(kind))
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(len(content)))
	w.buf = append(w.buf, content...)
}

// encodeVariable encodes a variable as name and value, each terminated by a NUL.
func encodeVariable(name, value string) []byte {
	return []byte(name + "\x00" + value + "\x00")
}

func decodeVariable(b []byte) (name, value string, err error) {
	before, b, ok1 := bytes.Cut(b, []byte{0})
	after, rest, ok2 := bytes.Cut(b, []byte{0})
	if !ok1 || !ok2 || len(rest) > 0 {
		return "", "", fmt.Errorf("%w: invalid variable", errProtocol)
	}
	return string(before), string(after), nil
}
