package procread

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/rawfile"
)

// hashTogether is the number of pieces of a file that are read between two keep-alives: 1 MiB.
const hashTogether = 16

// program sends the Program of a process without the hash, and then the hash: no frame if the file
// is too large, and a byte if it is the known one.
func (s *server) program(q request) error {
	if len(q.names) != 4 {
		return fmt.Errorf("%w: %d names", errProtocol, len(q.names))
	}
	path, known := q.names[0], q.names[3]
	f, path, err := findProgram(q.image.Dir(), path)
	if err != nil {
		return err
	}
	defer f.Close()
	ofUser := mayBeOfUser(f, q.image)
	id, err := identify(f, ofUser)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f), &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	if inode := strconv.FormatUint(id.Inode, 10); q.names[2] != "0" && (q.names[1] != strconv.FormatUint(id.Device, 10) || q.names[2] != inode) {
		return fmt.Errorf("the file is of inode %s: %w", inode, syscall.ESTALE)
	}
	p := Program{FileID: id}
	p.Memfd = st.Nlink == 0 && IsMemfd(path)
	p.Deleted = st.Nlink == 0 && !p.Memfd
	p.Writable = !p.Memfd && strings.HasPrefix(path, "/") && allMayWrite(q.image.Dir(), path)
	s.out.hold(frameData, p.encode())
	switch {
	case known == hex.EncodeToString(id.encode()) && !id.Volatile:
		s.out.hold(frameData, []byte{1})
		return nil
	case id.Size > MaxHashed:
		return nil
	}
	if err := s.out.flush(); err != nil { // before the hash, which may take too long
		return err
	}
	return s.hash(f, id, ofUser)
}

// hash sends the hash of a file.
func (s *server) hash(path rawfile.File, id FileID, ofUser bool) error {
	f, err := open("/proc/self/fd/"+strconv.Itoa(int(path)), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return err
	}
	defer f.Close()
	sum, size := sha256.New(), uint64(0)
	for n := 1; ; n++ {
		read, err := pread(f, s.chunk, size)
		if err != nil {
			return fmt.Errorf("reading at %d: %w", size, err)
		}
		if size += uint64(read); read == 0 || size > MaxHashed {
			break
		}
		sum.Write(s.chunk[:read])
		if n%hashTogether == 0 {
			if err := s.keepAlive(); err != nil {
				return err
			}
		}
	}
	if now, err := identify(f, ofUser); err != nil {
		return err
	} else if now != id || size != uint64(id.Size) {
		return fmt.Errorf("the file was changed: %w", syscall.ESTALE)
	}
	s.out.hold(frameData, sum.Sum(nil))
	return nil
}

// findProgram returns a descriptor of a file with O_PATH, and the path that the kernel shows.
func findProgram(dir, path string) (rawfile.File, string, error) {
	if path == "" {
		f, err := open(dir+"/exe", unix.O_PATH)
		if err != nil {
			return -1, "", err
		}
		path, _ = os.Readlink(dir + "/exe") // "" if it has executed another program, or is too long
		return f, path, nil
	}
	from := dir + "/cwd"
	if strings.HasPrefix(path, "/") {
		from = dir + "/root"
	}
	root, err := open(from, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, "", err
	}
	defer root.Close()
	fd, err := unix.Openat2(int(root), path, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	return rawfile.File(fd), path, nil
}
