package process

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

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
