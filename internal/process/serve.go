package process

import (
	"bufio"
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
)

// childName is argv[0], the only argument, of a process that reads for another one.
const childName = "cryptnono-reader"

// ServeIfChild does not return if this process is the child of a Reader. Call it first
// in main, and in TestMain where tests use a Reader.
func ServeIfChild() {
	if len(os.Args) != 1 || os.Args[0] != childName {
		return
	}
	// The parent looks at what this thread does.
	runtime.LockOSThread()
	_ = os.WriteFile("/proc/self/comm", []byte(childName[:15]), 0o600) // for ps
	// A service manager may send these to all processes of the agent, which still reads.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		waitForHangup(0)
		os.Exit(0) //nolint:forbidigo // the parent has ended, and with it this program's purpose
	}()
	status := 0
	if err := serve(file(0), file(1)); err != nil {
		status = 1
	}
	os.Exit(status) //nolint:forbidigo // this is the child's main
}

// waitForHangup returns when nobody holds the other end of a pipe, whatever else happens
// in this process.
func waitForHangup(fd int32) {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: fd}}, -1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// A file is a descriptor that is read and written by blocking system calls: nothing is
// gained by Go's poller here.
type file int

func (f file) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(f), b)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (f file) Write(b []byte) (int, error) {
	written := 0
	for written < len(b) {
		n, err := unix.Write(int(f), b[written:])
		if errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

func (f file) Close() error { return unix.Close(int(f)) }

// openFile opens a file about a process.
func openFile(path string) (file, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return file(fd), nil
	}
}

// A server answers requests.
type server struct {
	out   frameWriter
	chunk []byte
	lines *bufio.Reader
}

func newServer(out io.Writer) *server {
	return &server{out: frameWriter{w: out}, chunk: make([]byte, maxFrame), lines: bufio.NewReaderSize(nil, maxFrame)}
}

// serve answers requests until there are no more, and says hello before.
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

// answer answers a request. An error is of the connection.
func (s *server) answer(q request) error {
	var flags byte
	var err error
	switch q.kind {
	case requestArgs:
		flags, err = s.args(q)
	case requestEnviron:
		flags, err = s.environ(q)
	case requestMaps:
		err = s.maps(q)
	}
	if err == nil {
		return s.out.write(frameEnd, []byte{flags})
	}
	errno := syscall.EIO
	_ = errors.As(err, &errno)
	text := binary.LittleEndian.AppendUint32(nil, uint32(errno))
	return s.out.write(frameError, append(text, err.Error()...))
}

// alive tells the parent that something happens.
func (s *server) alive() error { return s.out.write(frameData, nil) }

// environ sends those variables of an environment that are asked for.
func (s *server) environ(q request) (flags byte, err error) {
	f, err := openFile(q.image.dir() + "/environ")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var area bytes.Buffer
	err = s.read(f, MaxArgsBytes, func(chunk []byte) error {
		area.Write(chunk)
		return s.alive()
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

// read gives the first limit bytes of a file to visit, in chunks.
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

// maps sends all mappings.
func (s *server) maps(q request) error {
	f, err := openFile(q.image.dir() + "/maps")
	if err != nil {
		return err
	}
	defer f.Close()
	out := mappingWriter{out: &s.out}
	err = s.queryMaps(f, &out)
	if errors.Is(err, unix.ENOTTY) {
		err = s.parseMaps(f, &out)
	}
	if err != nil {
		return fmt.Errorf("reading maps: %w", err)
	}
	return out.flush()
}

// queryMaps asks for one mapping after the other. ENOTTY says that the kernel cannot
// be asked.
func (s *server) queryMaps(f file, out *mappingWriter) error {
	for address := uint64(0); ; {
		m, err := f.query(address, s.chunk[:unix.PathMax])
		if errors.Is(err, unix.ENOENT) {
			return nil
		} else if err != nil {
			return err
		}
		if err := out.add(m, mappingHead); err != nil {
			return err
		}
		address = m.End
	}
}

// parseMaps parses the text in which all mappings are.
func (s *server) parseMaps(f io.Reader, out *mappingWriter) error {
	s.lines.Reset(f)
	for {
		line, err := s.lines.ReadSlice('\n') // longer ones there are not: a path has 4095 bytes at most
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		} else if err != nil {
			return err
		}
		m, err := parseMapping(line[:len(line)-1])
		if err != nil {
			return err
		}
		if err := out.add(m, len(line)); err != nil {
			return err
		}
	}
}

// A mappingWriter sends mappings, many at a time.
type mappingWriter struct {
	out   *frameWriter
	frame []byte
	read  int // bytes since the last frame
}

// add sends a mapping that read bytes were read for.
func (w *mappingWriter) add(m Mapping, read int) error {
	w.frame, w.read = m.append(w.frame), w.read+read
	if len(w.frame) < maxFrame-mappingHead-maxMappingPath && w.read < 4*maxFrame {
		return nil
	}
	return w.flush()
}

func (w *mappingWriter) flush() error {
	frame := w.frame
	w.frame, w.read = w.frame[:0], 0
	return w.out.write(frameData, frame)
}
