package procread

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A fuseFile is a file on a FUSE file system whose stat never returns, once it was opened.
type fuseFile struct {
	path   string
	daemon *exec.Cmd
}

// fuseProgram mounts a file system with a copy of a program until the end of the test.
func fuseProgram(t *testing.T, program string) fuseFile {
	t.Helper()
	dir := t.TempDir()
	daemon := exec.Command(testutil.BuildC(t, "test/victims/fuse_program.c"), dir, program)
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	testutil.Start(t, daemon)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
		t.Fatalf("output %q, %v", line, err)
	}
	return fuseFile{filepath.Join(dir, "program"), daemon}
}

// open opens the file.
func (f fuseFile) open(t *testing.T) *os.File {
	t.Helper()
	fd, err := unix.Open(f.path, unix.O_RDONLY|unix.O_CLOEXEC, 0) // os.Open calls fstat
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), f.path)
	t.Cleanup(func() { file.Close() })
	return file
}

func TestAMappedFileThatHangsIsGivenUp(t *testing.T) {
	testutil.Privileged(t)
	r := newReader(t)
	other := handle(t, testutil.Sleeper(t).Process.Pid)
	code := executable(t, r, other, "sleep")
	var files []fuseFile
	var handles []*process.Handle
	var codes []Mapping
	for range maxFilesLeftBehindByOwner + 1 {
		f := fuseProgram(t, "/bin/sleep")
		h := handle(t, testutil.Start(t, exec.Command(f.path, "600")).Process.Pid)
		files, handles = append(files, f), append(handles, h)
		codes = append(codes, executable(t, r, h, f.path))
	}
	slowest := time.Duration(0)
	var all sync.WaitGroup
	done := make(chan struct{})
	all.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
			began := time.Now()
			_, err1 := r.MappedFile(t.Context(), other, "other", code, []Range{{0, 10_000}}, func(uint64, []byte) error { return nil })
			err2 := r.Mappings(t.Context(), other, "other", func(Mapping) error { return nil })
			if err := errors.Join(err1, err2); err != nil {
				t.Errorf("another process: %v", err)
			}
			slowest = max(slowest, time.Since(began))
		}
	})
	read := func(i int) (time.Duration, error) {
		began := time.Now()
		_, err := r.MappedFile(t.Context(), handles[i], "attacker", codes[i], nil, nil)
		return time.Since(began), err
	}
	for i := range maxFilesLeftBehindByOwner {
		took, err := read(i)
		if !errors.Is(err, ErrStuck) || took > testutil.Patience(2*time.Second) {
			t.Errorf("file %d: %v after %v", i, err, took)
		}
		// The process is not at fault: what is in memory of the file is read without a rest.
		if err := r.Memory(t.Context(), handles[i], "attacker", []Range{{codes[i].Start, codes[i].End}}, func(uint64, []byte) error { return nil }); err != nil {
			t.Errorf("file %d: its memory: %v", i, err)
		}
		testutil.Eventually(t, "a child left behind", func() bool { return r.Stats().LeftBehind == i+1 })
	}
	// No more children are lost, and what does not hang is read.
	if took, err := read(maxFilesLeftBehindByOwner); !errors.Is(err, ErrStuck) || took > testutil.Patience(100*time.Millisecond) {
		t.Errorf("after the limit: %v after %v", err, took)
	}
	readOther := func(owner string) (file, mappings, memory error) {
		none := func(uint64, []byte) error { return nil }
		_, file = r.MappedFile(t.Context(), other, owner, code, nil, nil)
		mappings = r.Mappings(t.Context(), other, owner, func(Mapping) error { return nil })
		return file, mappings, r.Memory(t.Context(), other, owner, []Range{{code.Start, code.End}}, none)
	}
	if file, mappings, memory := readOther("attacker"); !errors.Is(file, ErrStuck) || mappings != nil || memory != nil {
		t.Errorf("after the limit: file %v, mappings %v, memory %v", file, mappings, memory)
	}
	close(done)
	all.Wait()
	t.Logf("the slowest read of another process took %v", slowest)
	for _, f := range files {
		testutil.End(f.daemon)
	}
	testutil.Eventually(t, "the end of all children left behind", func() bool { return r.Stats().LeftBehind == 0 })
	if file, mappings, memory := readOther("attacker"); file != nil || mappings != nil || memory != nil {
		t.Errorf("afterwards: file %v, mappings %v, memory %v", file, mappings, memory)
	}
	for _, c := range []struct{ leftBehind, refused int }{{maxFilesLeftBehind - 1, 0}, {maxFilesLeftBehind, 1}, {maxLeftBehind, 3}} {
		r.pool.mu.Lock()
		r.pool.stats.LeftBehind = c.leftBehind // by many owners
		r.pool.mu.Unlock()
		file, mappings, memory := readOther("other")
		refused := 0
		for _, err := range []error{file, mappings, memory} {
			if errors.Is(err, ErrStuck) {
				refused++
			}
		}
		if refused != c.refused {
			t.Errorf("%d children left behind: file %v, mappings %v, memory %v", c.leftBehind, file, mappings, memory)
		}
	}
	r.pool.mu.Lock()
	r.pool.stats.LeftBehind = 0
	r.pool.mu.Unlock()
}

func TestAProcessThatHoldsTheLockOfItsMemoryIsGivenUp(t *testing.T) {
	testutil.Privileged(t)
	_, handles := hanging(t, 1)
	r, h := newReader(t), handles[0]
	visit := func(uint64, []byte) error { return nil }
	for i, read := range []func(owner string) error{
		func(owner string) error {
			return r.Mappings(t.Context(), h, owner, func(Mapping) error { return nil })
		},
		func(owner string) error {
			return r.Memory(t.Context(), h, owner, []Range{{1 << 20, 2 << 20}}, visit)
		},
		func(owner string) error {
			_, err := r.MappedFile(t.Context(), h, owner, Mapping{Start: 1 << 20, End: 2 << 20}, []Range{{0, 1}}, visit)
			return err
		},
	} {
		began := time.Now()
		err := read(strconv.Itoa(i))
		if i == 0 && err == nil {
			continue // newer kernels list mappings without the lock (CONFIG_PER_VMA_LOCK)
		}
		if !errors.Is(err, ErrStuck) || time.Since(began) > testutil.Patience(2*time.Second) {
			t.Errorf("read %d: %v after %v", i, err, time.Since(began))
		}
	}
}
