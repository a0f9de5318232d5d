package procread

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// memfdOfSleep starts the program sleep from a memfd.
func memfdOfSleep(t *testing.T) *exec.Cmd {
	t.Helper()
	program, err := os.ReadFile(copyOfSleep(t, filepath.Join(t.TempDir(), "sleep")))
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	defer f.Close()
	if _, err := f.Write(program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/fd/3", "600")
	cmd.ExtraFiles = []*os.File{f}
	return testutil.Start(t, cmd)
}

func TestTheProgramOfAProcessIsHashed(t *testing.T) {
	r, dir := newReader(t), t.TempDir() // in /tmp
	start := func(path string) *exec.Cmd { return testutil.Start(t, exec.Command(path, "600")) }
	path := copyOfSleep(t, filepath.Join(dir, "a program"))
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	kept := start(path)
	removed := start(copyOfSleep(t, filepath.Join(dir, "removed")))
	long := copyOfSleep(t, filepath.Join(dir, "large"))
	if err := os.Truncate(long, MaxHashed+1); err != nil {
		t.Fatal(err)
	}
	large := start(long)
	system := testutil.Sleeper(t)
	for _, cmd := range []*exec.Cmd{kept, removed, large, system} {
		testutil.Eventually(t, "the exec", func() bool {
			exe, _ := os.Readlink(process.Dir(cmd.Process.Pid) + "/exe")
			return exe == cmd.Path || filepath.Base(exe) != filepath.Base(os.Args[0])
		})
	}
	if err := os.Remove(removed.Path); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cmd                      *exec.Cmd
		deleted, memfd, writable bool
		size                     int64
		absent                   string
	}{
		"a file in /tmp": {kept, false, false, true, int64(len(content)), ""},
		"a removed file": {removed, true, false, true, int64(len(content)), ""},
		"a memfd":        {memfdOfSleep(t), false, true, false, int64(len(content)), ""},
		"a large file":   {large, false, false, true, MaxHashed + 1, AbsentLarge},
		"a system's":     {system, false, false, false, int64(len(content)), ""},
	} {
		calls := 0
		p, err := r.Program(t.Context(), handle(t, c.cmd.Process.Pid), name, WantedProgram{}, func(Program) { calls++ })
		if err != nil || calls != 1 {
			t.Errorf("%s: %v, opened %d times", name, err, calls)
			continue
		}
		if p.Deleted != c.deleted || p.Memfd != c.memfd || p.Writable != c.writable || p.Size != c.size || p.Absent != c.absent {
			t.Errorf("%s: got %+v", name, p)
		}
		if hashed := string(p.SHA256) == string(sum[:]); hashed != (c.absent == "") {
			t.Errorf("%s: got the hash %x, want %x", name, p.SHA256, sum)
		}
	}
}

func TestAFileIsFoundByItsPath(t *testing.T) {
	r, dir := newReader(t), t.TempDir()
	path := copyOfSleep(t, filepath.Join(dir, "program"))
	if err := os.Symlink("program", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	file := process.FileID{Inode: st.Ino, Device: unix.Major(st.Dev)<<20 | unix.Minor(st.Dev)}
	cmd := exec.Command("sleep", "600")
	cmd.Dir = dir
	h := handle(t, testutil.Start(t, cmd).Process.Pid)
	other := process.FileID{Inode: st.Ino + 1, Device: file.Device}
	for _, c := range []struct {
		path string
		file process.FileID
		want error
	}{
		{path, file, nil}, {"program", file, nil}, {"./link", file, nil}, {path, process.FileID{}, nil},
		{path, other, ErrOtherFile}, {dir, process.FileID{}, unix.EIO}, {"none", file, fs.ErrNotExist},
		{"/proc/self/fd/0", file, unix.ELOOP}, {"../" + path, file, fs.ErrNotExist},
	} {
		p, err := r.Program(t.Context(), h, "", WantedProgram{Path: c.path, File: c.file}, nil)
		if !errors.Is(err, c.want) || err == nil && (p.SHA256 == nil || p.Inode != st.Ino) {
			t.Errorf("%s: got %+v, %v, want %v", c.path, p, err, c.want)
		}
	}
}

// writes counts the calls of Write.
type writes int

func (n *writes) Write(b []byte) (int, error) { *n++; return len(b), nil }

func TestTheAnswerAboutAKnownFileIsOneWrite(t *testing.T) {
	p := testutil.Sleeper(t).Process.Pid
	known, err := newReader(t).Program(t.Context(), handle(t, p), "", WantedProgram{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	image, err := process.Current(p)
	if err != nil {
		t.Fatal(err)
	}
	for want, w := range map[writes]WantedProgram{1: {Known: known}, 2: {}} { // the second with the hash
		var n writes
		if err := newServer(&n).answer(request{kind: requestProgram, image: image, names: w.encode()}); err != nil || n != want {
			t.Errorf("%d writes, %v, want %d", n, err, want)
		}
	}
}

func TestAKnownFileIsNotReadAgain(t *testing.T) {
	r, h := newReader(t), handle(t, testutil.Sleeper(t).Process.Pid)
	first, err := r.Program(t.Context(), h, "", WantedProgram{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	known := first
	known.SHA256 = []byte(strings.Repeat("k", sha256.Size))
	if p, err := r.Program(t.Context(), h, "", WantedProgram{Known: known}, nil); err != nil || string(p.SHA256) != string(known.SHA256) {
		t.Errorf("the same file: got %+v, %v", p, err)
	}
	known.Modified++
	if p, err := r.Program(t.Context(), h, "", WantedProgram{Known: known}, nil); err != nil || string(p.SHA256) != string(first.SHA256) {
		t.Errorf("another version: got %+v, %v", p, err)
	}
}

// The process may be killed once its file is open.
func TestAProcessMayEndWhenItsProgramIsOpen(t *testing.T) {
	r := newReader(t)
	cmd := testutil.Start(t, exec.Command(copyOfSleep(t, filepath.Join(t.TempDir(), "sleep")), "600"))
	h := handle(t, cmd.Process.Pid)
	p, err := r.Program(t.Context(), h, "", WantedProgram{}, func(Program) { testutil.End(cmd) })
	if err != nil || p.SHA256 == nil {
		t.Errorf("got %+v, %v", p, err)
	}
	if _, err := r.Program(t.Context(), h, "", WantedProgram{}, nil); !errors.Is(err, process.ErrGone) {
		t.Errorf("after its end: %v", err)
	}
}

func TestAProgramThatHangsIsGivenUp(t *testing.T) {
	testutil.Privileged(t)
	r := newReader(t)
	f := fuseProgram(t, "/bin/sleep")
	h := handle(t, testutil.Start(t, exec.Command(f.path, "600")).Process.Pid)
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), testutil.Patience(2*time.Second))
	defer cancel()
	if p, err := r.Program(ctx, h, "", WantedProgram{}, nil); !errors.Is(err, ErrStuck) || time.Since(began) > testutil.Patience(2*time.Second) {
		t.Errorf("got %+v, %v after %v", p, err, time.Since(began))
	}
	if err := f.daemon.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
