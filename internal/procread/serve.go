package procread

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/rawfile"
)

// childName is the only argument, argv[0], of a child.
const childName = "cryptnono-reader"

// ServeIfChild serves requests and then exits if this process is the child of a Reader.
// Call it first in main, and in TestMain if tests use a Reader.
func ServeIfChild() {
	if len(os.Args) != 1 || os.Args[0] != childName {
		return
	}
	// The parent observes the state of this thread.
	runtime.LockOSThread()
	_ = os.WriteFile("/proc/self/comm", []byte(childName[:15]), 0o600) // for ps
	// systemd sends signals to all processes of a service. The agent still needs this one.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		waitForHangup(0)
		os.Exit(0) //nolint:forbidigo // the parent has ended
	}()
	status := 0
	if err := serve(rawfile.File(0), rawfile.File(1)); err != nil {
		status = 1
	}
	os.Exit(status) //nolint:forbidigo // this is the child's main
}

// waitForHangup returns when the other end of a pipe is closed.
func waitForHangup(fd int32) {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: fd}}, -1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// A server answers requests.
type server struct {
	out        frameWriter
	chunk      []byte
	briefFrame []byte
}

func newServer(out io.Writer) *server {
	return &server{out: frameWriter{w: out}, chunk: make([]byte, maxFrame)}
}

// serve sends frameHello and then answers requests until EOF.
func serve(in io.Reader, out io.Writer) error {
	s := newServer(out)
	hello := binary.LittleEndian.AppendUint32(nil, uint32(unix.Gettid()))
	if err := s.out.write(frameHello, hello); err != nil {
		return err
	}
	for {
		q, err := readRequest(in)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.answer(q); err != nil {
			return err
		}
	}
}

// answer answers a request. It returns an error only for the connection.
func (s *server) answer(q request) error {
	var flags byte
	var err error
	switch q.kind {
	case requestArgs:
		flags, err = s.args(q)
	case requestEnviron:
		flags, err = s.environ(q)
	case requestBriefs:
		err = s.briefs(q)
	case requestMaps:
		flags, err = s.maps(q)
	case requestFile:
		flags, err = s.file(q)
	case requestMemory:
		err = s.memory(q)
	case requestActivity:
		err = s.activity(q)
	case requestProgram:
		err = s.program(q)
	case requestConnections:
		err = s.peers(q)
	}
	if err == nil {
		return s.out.write(frameEnd, []byte{flags})
	}
	errno := syscall.EIO
	_ = errors.As(err, &errno)
	text := binary.LittleEndian.AppendUint32(nil, uint32(errno))
	return s.out.write(frameError, append(text, err.Error()...))
}

// keepAlive sends an empty frame, so that the parent does not time out.
func (s *server) keepAlive() error { return s.out.write(frameData, nil) }

// environ sends the requested variables of an environment.
func (s *server) environ(q request) (flags byte, err error) {
	f, err := rawfile.Open(q.image.Dir() + "/environ")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var area bytes.Buffer
	err = s.read(f, MaxArgsBytes, func(chunk []byte) error {
		area.Write(chunk)
		return s.keepAlive()
	})
	if err != nil {
		return 0, fmt.Errorf("reading environ: %w", err)
	}
	for name, value := range Environ(area.Bytes(), q.names) {
		if err := s.out.write(frameData, encodeVariable(name, value)); err != nil {
			return 0, err
		}
	}
	if area.Cap() > 1<<20 {
		debug.FreeOSMemory()
	}
	if area.Len() == 0 {
		return endEmpty, nil
	}
	return 0, nil
}

// read calls visit with the first limit bytes of a file, in chunks.
func (s *server) read(f io.Reader, limit int, visit func([]byte) error) error {
	for limit > 0 {
		n, err := f.Read(s.chunk[:min(limit, len(s.chunk))])
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		limit -= n
		if err := visit(s.chunk[:n]); err != nil {
			return err
		}
	}
	return nil
}
