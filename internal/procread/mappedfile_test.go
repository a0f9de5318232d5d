package procread

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// executable returns the mapping of a process's code.
func executable(t testing.TB, r *Reader, h *process.Handle, name string) Mapping {
	t.Helper()
	return mappingOf(t, r, h, func(m Mapping) bool { return m.Execute && strings.Contains(m.Path, name) })
}

// idOf returns the identity that stat shows.
func idOf(t testing.TB, f *os.File) FileID {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return FileID{st.Dev, st.Ino, st.Size, st.Ctim.Nano(), st.Mtim.Nano(), false}
}

// startCopy starts a copy of sleep at a path, and returns its mapping of code.
func startCopy(t *testing.T, r *Reader, path string) (*process.Handle, Mapping) {
	t.Helper()
	h := handle(t, testutil.Start(t, exec.Command(copyOfSleep(t, path), "600")).Process.Pid)
	return h, executable(t, r, h, filepath.Base(path))
}

// isRead checks that a mapped file is read as its content.
func isRead(t *testing.T, r *Reader, h *process.Handle, m Mapping, content []byte) FileID {
	t.Helper()
	var got []byte
	id, err := r.MappedFile(t.Context(), h, "", m, []Range{{0, uint64(len(content)) + 100}}, func(at uint64, data []byte) error {
		if at != uint64(len(got)) {
			t.Errorf("%d bytes are at %d after %d", len(data), at, len(got))
		}
		got = append(got, data...)
		return nil
	})
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes of %d, %v", len(got), len(content), err)
	}
	if only, err := r.MappedFile(t.Context(), h, "", m, nil, nil); err != nil || only != id || id.Size != int64(len(content)) {
		t.Errorf("the identity is %+v, %v; want %+v", only, err, id)
	}
	return id
}

func sleepProgram(t *testing.T) []byte {
	t.Helper()
	path, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestAMappedFileIsReadAsItIs(t *testing.T) {
	testutil.Privileged(t)
	r := newReader(t)
	path := filepath.Join(t.TempDir(), "doze")
	h, m := startCopy(t, r, path)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if id := isRead(t, r, h, m, sleepProgram(t)); id != idOf(t, f) {
		t.Errorf("got %+v, want %+v", id, idOf(t, f))
	}
	if err := os.Remove(path); err != nil { // which changes its ctime
		t.Fatal(err)
	}
	m = executable(t, r, h, "doze (deleted)")
	if id := isRead(t, r, h, m, sleepProgram(t)); id != idOf(t, f) {
		t.Errorf("as a deleted file: %+v, want %+v", id, idOf(t, f))
	}
}

func TestTheMappedFileOfAMemfdIsReadAndVolatile(t *testing.T) {
	testutil.Privileged(t)
	r := newReader(t)
	fd, err := unix.MemfdCreate("code", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "code")
	defer f.Close()
	content := bytes.Repeat([]byte("harmless"), 10_000)
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	m, memory := mapFile(t, r, f, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	copy(memory[5000:], "once")
	copy(content[5000:], "once")
	before := isRead(t, r, self(t), m, content)
	time.Sleep(20 * time.Millisecond) // a tick of the clock for files
	copy(memory[5000:], "again")
	copy(content[5000:], "again")
	if after := isRead(t, r, self(t), m, content); after != before || !after.Volatile {
		t.Errorf("%+v becomes %+v", before, after)
	}
}

func TestAMappedFileInAnotherMountNamespaceIsRead(t *testing.T) {
	testutil.Privileged(t)
	for name, script := range map[string]string{
		"tmpfs":   `mount -t tmpfs none "$1" && cp "$0" "$1/doze" && exec "$1/doze" 600`,
		"overlay": `mount -t tmpfs none "$1" && cd "$1" && mkdir lower upper work all && cp "$0" lower/doze && mount -t overlay none -o lowerdir=lower,upperdir=upper,workdir=work all && exec all/doze 600`,
	} {
		t.Run(name, func(t *testing.T) {
			sleep, err := exec.LookPath("sleep")
			if err != nil {
				t.Fatal(err)
			}
			if filesystems, err := os.ReadFile("/proc/filesystems"); err != nil || !strings.Contains(string(filesystems), "\t"+name+"\n") {
				t.Skip("this kernel has no " + name)
			}
			r := newReader(t)
			cmd := testutil.Start(t, exec.Command("unshare", "--mount", "sh", "-c", script, sleep, t.TempDir()))
			h := handle(t, cmd.Process.Pid)
			testutil.Eventually(t, "the program", func() bool {
				comm, err := os.ReadFile(process.Dir(h.PID()) + "/comm")
				return err == nil && string(comm) == "doze\n"
			})
			id := isRead(t, r, h, executable(t, r, h, "/doze"), sleepProgram(t))
			if id.Volatile != (name == "tmpfs") {
				t.Errorf("%+v", id)
			}
		})
	}
}

// A user can mount an overlayfs in a user namespace, above a file system that shows what it likes. Its
// device number is free for another one after that.
func TestAFileOnAnOverlayOfAUserIsVolatile(t *testing.T) {
	testutil.Privileged(t)
	if filesystems, err := os.ReadFile("/proc/filesystems"); err != nil || !strings.Contains(string(filesystems), "\toverlay\n") {
		t.Skip("this kernel has no overlayfs")
	}
	const script = `mount -t tmpfs none "$1" && cd "$1" && mkdir first second all && cp "$0" first/doze && mount -t overlay none -o lowerdir=first:second all || exit 7
		exec all/doze 600`
	dir := t.TempDir()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t)
	cmd := testutil.Start(t, exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, sleep, dir))
	inside := handle(t, cmd.Process.Pid)
	started := func(h *process.Handle) func() bool {
		return func() bool {
			comm, err := os.ReadFile(process.Dir(h.PID()) + "/comm")
			return err == nil && string(comm) == "doze\n" || h.Alive() != nil
		}
	}
	testutil.Eventually(t, "the program", started(inside))
	if inside.Alive() != nil {
		t.Skip("users mount no overlayfs on this kernel")
	}
	// The mount namespace of this process is not a user's, but the file is not on a mount of it.
	path := filepath.Join(process.Dir(inside.PID()), "root", dir, "all/doze")
	outside := handle(t, testutil.Start(t, exec.Command(path, "600")).Process.Pid)
	testutil.Eventually(t, "the program", started(outside))
	for name, h := range map[string]*process.Handle{"in the user namespace": inside, "outside": outside} {
		if id := isRead(t, r, h, executable(t, r, h, "/doze"), sleepProgram(t)); !id.Volatile {
			t.Errorf("%s: %+v", name, id)
		}
		if p, err := r.Program(t.Context(), h, "", WantedProgram{}, nil); err != nil || !p.Volatile || p.SHA256 == nil {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

func TestAFileThatIsNotRegularIsNotOpened(t *testing.T) {
	testutil.Privileged(t)
	path := filepath.Join(t.TempDir(), "device")
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))); err != nil { // as /dev/zero
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := newReader(t)
	m, _ := mapFile(t, r, f, 1<<16, unix.PROT_READ, unix.MAP_PRIVATE)
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, path, unix.IN_OPEN|unix.IN_ACCESS); err != nil {
		t.Fatal(err)
	}
	event := make([]byte, 1024)
	_, err = r.MappedFile(t.Context(), self(t), "", m, []Range{{0, 100}}, func(uint64, []byte) error { t.Error("it is read"); return nil })
	if err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("got %v", err)
	}
	if n, err := unix.Read(watch, event); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("it was opened: %v, %v", n, err)
	}
	f2, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	f2.Close()
	if _, err := unix.Read(watch, event); err != nil {
		t.Errorf("the test does not see that a file is opened: %v", err)
	}
}

func TestAMappingThatIsGoneIsAnError(t *testing.T) {
	testutil.Privileged(t)
	r, h := newReader(t), handle(t, testutil.Sleeper(t).Process.Pid)
	m := executable(t, r, h, "sleep")
	anonymous := mappingOf(t, r, h, func(m Mapping) bool { return m.Path == "[heap]" })
	for _, m := range []Mapping{{Start: m.Start, End: m.End + 4096}, {Start: 4096, End: 8192}, {}, anonymous} {
		if id, err := r.MappedFile(t.Context(), h, "", m, nil, nil); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%+v: %+v, %v", m, id, err)
		}
	}
}

func TestAMappedFileOfAProcessWhoseFirstThreadHasEndedIsRead(t *testing.T) {
	testutil.Privileged(t)
	program := testutil.BuildC(t, "test/victims/exit_leader.c")
	h := handle(t, testutil.Start(t, exec.Command(program)).Process.Pid)
	testutil.Eventually(t, "the end of the first thread", func() bool {
		s, err := stat(h.PID())
		return err == nil && s.State == "Z"
	})
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t)
	isRead(t, r, h, executable(t, r, h, "exit_leader"), content)
}

// largeFile creates a file, and maps its first page.
func largeFile(t testing.TB, r *Reader, size int64) (*os.File, Mapping) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "large"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	m, _ := mapFile(t, r, f, 4096, unix.PROT_READ, unix.MAP_PRIVATE)
	return f, m
}

func TestAFileThatChangesWhileItIsReadIsVolatile(t *testing.T) {
	testutil.Privileged(t)
	for name, change := range map[string]func(*os.File) error{
		"is renamed":   func(f *os.File) error { return os.Rename(f.Name(), f.Name()+"x") },
		"grows":        func(f *os.File) error { return f.Truncate(100 << 20) },
		"shrinks":      func(f *os.File) error { return f.Truncate(1 << 20) },
		"is written":   func(f *os.File) error { _, err := f.WriteAt([]byte("x"), 0); return err },
		"is no longer": func(f *os.File) error { return os.Remove(f.Name()) },
	} {
		for _, at := range []uint64{0, 15 << 20} { // while the first or the last part is read
			r := newReader(t)
			f, m := largeFile(t, r, 16<<20)
			time.Sleep(20 * time.Millisecond) // a tick of the clock for files
			read := 0
			id, err := r.MappedFile(t.Context(), self(t), "", m, []Range{{0, 16 << 20}}, func(offset uint64, data []byte) error {
				read += len(data)
				if at >= offset && at < offset+uint64(len(data)) {
					return change(f)
				}
				return nil
			})
			if err != nil || !id.Volatile || read > 16<<20 || read < 16<<20 && name != "shrinks" {
				t.Errorf("a file that %s: %d bytes, %+v, %v", name, read, id, err)
			}
		}
	}
}

func TestTwoFilesThatAreMappedInTurnAreNotMixed(t *testing.T) {
	testutil.Privileged(t)
	r := newReader(t)
	first, _ := largeFile(t, r, 16<<20)
	other, _ := largeFile(t, r, 16<<20)
	m, memory := mapFile(t, r, first, 4096, unix.PROT_READ, unix.MAP_PRIVATE)
	read := uint64(0)
	_, err := r.MappedFile(t.Context(), self(t), "", m, []Range{{0, 16 << 20}}, func(at uint64, data []byte) error {
		if at == 0 { // the child has opened the first file
			_, err := unix.MmapPtr(int(other.Fd()), 0, unsafe.Pointer(&memory[0]), 4096, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_FIXED)
			if err != nil {
				return err
			}
		}
		read += uint64(len(data))
		return nil
	})
	if !errors.Is(err, errOtherFile) || read != maxPart {
		t.Errorf("%d bytes, %v", read, err)
	}
}

func TestRangesOfASparseFileAreRead(t *testing.T) {
	testutil.Privileged(t)
	r := newReader(t)
	const size = 100 << 30
	f, m := largeFile(t, r, size)
	if _, err := f.WriteAt([]byte("here"), size-10); err != nil {
		t.Fatal(err)
	}
	total, j, last := 0, joiner{}, []byte(nil)
	var starts []uint64
	began := time.Now()
	id, err := r.MappedFile(t.Context(), self(t), "", m, []Range{{5, 6}, {50 << 30, 50<<30 + 20<<20}, {size - 10, size + 100}, {size + 1, size + 1<<20}}, func(at uint64, data []byte) error {
		if at != j.end {
			starts = append(starts, at)
		}
		j.start(at, data)
		total += len(data)
		last = bytes.Clone(data)
		return nil
	})
	if err != nil || id.Size != size || total != 1+20<<20+10 || string(last) != "here\x00\x00\x00\x00\x00\x00" || len(starts) != 3 {
		t.Errorf("%d bytes, the last %q, pieces from %v, %+v, %v", total, last, starts, id, err)
	}
	if took := time.Since(began); took > testutil.Patience(5*time.Second) {
		t.Errorf("it took %v", took)
	}
}

func TestAFileWithALeaseDoesNotDelayTheRead(t *testing.T) {
	testutil.Privileged(t)
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGIO) // from the kernel, which asks for the lease
	defer signal.Stop(signals)
	r := newReader(t)
	f, m := largeFile(t, r, 1<<20)
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	visit := func(uint64, []byte) error { return nil }
	if _, err := r.MappedFile(t.Context(), self(t), "", m, []Range{{0, 10}}, visit); !errors.Is(err, ErrStuck) || r.Stats().TimedOut != 0 {
		t.Errorf("got %v, %+v", err, r.Stats())
	}
	if took := time.Since(began); took > testutil.Patience(time.Second) {
		t.Errorf("it took %v", took)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
		t.Fatal(err)
	}
	if _, err := r.MappedFile(t.Context(), self(t), "", m, []Range{{0, 10}}, visit); err != nil {
		t.Errorf("without the lease: %v", err)
	}
}

// A visit that ends a read does not end the child.
func TestAVisitCanEndTheReadOfAFile(t *testing.T) {
	testutil.Privileged(t)
	r := newReader(t)
	_, m := largeFile(t, r, 20<<20)
	calls := 0
	_, err := r.MappedFile(t.Context(), self(t), "", m, []Range{{0, 20 << 20}}, func(uint64, []byte) error { calls++; return io.ErrShortWrite })
	if !errors.Is(err, io.ErrShortWrite) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	before := childOf(r)
	if _, err := r.MappedFile(t.Context(), self(t), "", m, nil, nil); err != nil || childOf(r) != before {
		t.Errorf("another child is used, %v", err)
	}
}
