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

// A reader and its child speak in requests and frames, little-endian, over two pipes.
// To each request the child answers with frames, of which the last is frameEnd or
// frameError. Both sides check all lengths: the child reads what strangers wrote.
//
//	request: length uint32, kind uint8, flags uint8, pid uint32, tid uint32,
//	         stack, argStart, argEnd, envStart uint64, names separated by NUL or
//	         processes
//	frame:   kind uint8, length uint32, content

const (
	requestHead = 4 + 2 + 2*4 + 4*8
	frameHead   = 5
	// maxNames is the length of all names in a request.
	maxNames = 32 << 10
	// maxFrame is the length of a frame's content.
	maxFrame = 64 << 10
)

type requestKind uint8

const (
	requestArgs requestKind = iota + 1
	requestEnviron
	requestBriefs
)

// requestNoMemory keeps the child from reading the process's memory, which may take
// for ever: the arguments then are taken as rewritten.
const requestNoMemory = 1

// A request asks for a file of a process.
type request struct {
	kind  requestKind
	flags uint8
	image process.Image
	names []string // of variables, for requestEnviron
	of    []Want   // for requestBriefs
}

// errProtocol says that what came is not what the other side sends.
var errProtocol = errors.New("unexpected data")

func (q request) encode() []byte {
	names := strings.Join(q.names, "\x00")
	b := make([]byte, 0, requestHead+len(names)+4*len(q.of))
	b = binary.LittleEndian.AppendUint32(b, uint32(cap(b)-4))
	b = append(b, byte(q.kind), q.flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(q.image.PID))
	b = binary.LittleEndian.AppendUint32(b, uint32(q.image.TID))
	for _, address := range []uint64{q.image.Stack, q.image.ArgStart, q.image.ArgEnd, q.image.EnvStart} {
		b = binary.LittleEndian.AppendUint64(b, address)
	}
	return encodeWants(append(b, names...), q.of)
}

// readRequest reads the next request.
func readRequest(r io.Reader) (request, error) {
	var head [requestHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return request{}, err
	}
	length := binary.LittleEndian.Uint32(head[:])
	if length < requestHead-4 || length > requestHead-4+maxNames {
		return request{}, fmt.Errorf("%w: a request of %d bytes", errProtocol, length)
	}
	names := make([]byte, length-(requestHead-4))
	if _, err := io.ReadFull(r, names); err != nil {
		return request{}, err
	}
	q := request{kind: requestKind(head[4]), flags: head[5]}
	if q.kind < requestArgs || q.kind > requestBriefs {
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
		q.of, err = decodeWants(names)
	case len(names) > 0:
		q.names = strings.Split(string(names), "\x00")
	}
	return q, err
}

type frameKind uint8

const (
	frameHello frameKind = iota + 1 // once: the id of the thread that reads, uint32
	frameData                       // may be empty: a sign of life
	frameEnd                        // flags, uint8
	frameError                      // errno, uint32, and what was being done
)

const (
	endTruncated = 1 << iota
	endRewritten
	endEmpty // there was nothing to read
)

// readFrame reads the next frame into buf, which is at least as long as maxFrame.
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

// A fileError is an error that the child had with a file.
type fileError struct {
	text  string
	errno syscall.Errno
}

func (e fileError) Error() string { return e.text }
func (e fileError) Unwrap() error { return e.errno }

// readAnswer reads the answer to a request, and gives its data to visit, whose error ends
// it. A fileError says that it was read whole.
func readAnswer(r io.Reader, buf []byte, visit func([]byte) error) (flags byte, err error) {
	for {
		kind, content, err := readFrame(r, buf)
		if err != nil {
			return 0, err
		}
		switch kind {
		case frameHello:
			return 0, fmt.Errorf("%w: hello again", errProtocol)
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

// A frameWriter writes frames, each with one call.
type frameWriter struct {
	w   io.Writer
	buf []byte
}

func (w *frameWriter) write(kind frameKind, content []byte) error {
	w.buf = append(w.buf[:0], byte(kind))
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(len(content)))
	w.buf = append(w.buf, content...)
	_, err := w.w.Write(w.buf)
	return err
}

// encodeVariable returns a variable and its value, each ended by a NUL.
func encodeVariable(name, value string) []byte {
	return []byte(name + "\x00" + value + "\x00")
}

// decodeVariable decodes what encodeVariable has encoded.
func decodeVariable(b []byte) (name, value string, err error) {
	before, b, ok1 := bytes.Cut(b, []byte{0})
	after, rest, ok2 := bytes.Cut(b, []byte{0})
	if !ok1 || !ok2 || len(rest) > 0 {
		return "", "", fmt.Errorf("%w: no variable", errProtocol)
	}
	return string(before), string(after), nil
}
