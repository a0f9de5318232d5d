package process

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) {
	ServeIfChild()
	os.Exit(testutil.RunWithoutLeaks(m))
}

// start starts a program that ends with the test at the latest.
func start(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// sleeper starts a process that does nothing.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	return start(t, exec.Command("sleep", "600"))
}

// copyOfSleep makes a file that is the program sleep.
func copyOfSleep(t *testing.T, file string) string {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, program, 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

// handle opens a handle that is closed with the test.
func handle(t *testing.T, pid int) *Handle {
	t.Helper()
	h, err := Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// newReader returns a Reader that is closed with the test.
func newReader(t *testing.T) *Reader {
	t.Helper()
	r := NewReader(slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// read reads a process that can be read.
func read(t *testing.T, pid int) Info {
	t.Helper()
	r := newReader(t)
	info, err := r.Read(t.Context(), handle(t, pid), "")
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// eventually waits for what another process does.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// end kills a child by other means than those under test.
func end(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

func TestAProcessIsReadAsItWasStarted(t *testing.T) {
	program := copyOfSleep(t, filepath.Join(t.TempDir(), "doze"))
	cmd := exec.Command(program, "600", "0")
	cmd.Args[0] = "another name"
	start(t, cmd)

	got := read(t, cmd.Process.Pid)
	if got.PID != cmd.Process.Pid || got.PPID != os.Getpid() || got.UID != uint32(os.Getuid()) {
		t.Errorf("got pid %d, ppid %d, uid %d", got.PID, got.PPID, got.UID)
	}
	if got.Program != program || got.Comm != "doze" || got.Threads != 1 || got.KernelThread || got.Truncated {
		t.Errorf("got program %q, comm %q, %d threads, kernel thread %v, truncated %v",
			got.Program, got.Comm, got.Threads, got.KernelThread, got.Truncated)
	}
	if want := "another name\x00600\x000\x00"; string(got.Args) != want {
		t.Errorf("got arguments %q, want %q", got.Args, want)
	}
	self := read(t, os.Getpid())
	if got.Start < self.Start || got.Start > self.Start+time.Hour {
		t.Errorf("started %v after boot, but we did at %v", got.Start, self.Start)
	}
}

func TestTheUserIsTheRealOne(t *testing.T) {
	testutil.Privileged(t)
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4294967294}}
	start(t, cmd)
	if uid := read(t, cmd.Process.Pid).UID; uid != 4294967294 {
		t.Errorf("got uid %d", uid)
	}
}

func TestTheListHasAllProcessesAndNoThreads(t *testing.T) {
	child := sleeper(t).Process.Pid
	pids, err := List()
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{1, os.Getpid(), child} {
		if !slices.Contains(pids, pid) {
			t.Errorf("%d is missing", pid)
		}
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads (%v)", len(threads), err)
	}
	for _, pid := range pids {
		if _, err := os.Stat(filepath.Join("/proc/self/task", strconv.Itoa(pid))); err == nil && pid != os.Getpid() {
			t.Errorf("%d is a thread of ours", pid)
		}
	}
}

func TestEveryProcessOfTheMachineCanBeRead(t *testing.T) {
	testutil.Privileged(t)
	if err := Supported(); err != nil {
		t.Fatal(err)
	}
	pids, err := List()
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t)
	kernelThreads := 0
	for _, pid := range pids {
		h, err := Open(pid)
		if errors.Is(err, ErrGone) {
			continue
		} else if err != nil {
			t.Error(err)
			continue
		}
		info, err := r.Read(t.Context(), h, "")
		switch {
		case errors.Is(err, ErrGone), errors.Is(err, ErrStuck):
		case errors.Is(err, fs.ErrPermission) && pid == 1: // a sandbox may hide its init
		case errors.Is(err, fs.ErrNotExist): // it has no memory any more
			eventually(t, "the end of a process that is ending", func() bool { return h.Alive() != nil })
		case err != nil:
			t.Error(err)
		}
		if err == nil && info.Program == "" != info.KernelThread {
			t.Errorf("%d: kernel thread %v, program %q", pid, info.KernelThread, info.Program)
		}
		if info.KernelThread {
			kernelThreads++
		}
		h.Close()
	}
	if kernelThreads == 0 {
		t.Errorf("no kernel thread among %d processes", len(pids))
	}
}

func TestArgumentsCanBeRewritten(t *testing.T) {
	cmd := exec.Command(testutil.BuildC(t, "test/victims/rewrite_argv.c"), strings.Repeat("x", 64))
	cmd.Args[0] = "honest"
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	if args := read(t, cmd.Process.Pid).Args; !bytes.HasPrefix(args, []byte("honest\x00xxx")) {
		t.Fatalf("at first the arguments are %q", args)
	}
	if _, err := stdin.Write([]byte("quite another\n")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new arguments", func() bool {
		return bytes.HasPrefix(read(t, cmd.Process.Pid).Args, []byte("quite\x00another\x00\x00"))
	})
}
