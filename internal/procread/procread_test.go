package procread

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) {
	ServeIfChild()
	os.Exit(testutil.RunWithoutLeaks(m))
}

// copyOfSleep copies the program sleep to a file.
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

// handle opens a handle and closes it at the end of the test.
func handle(t *testing.T, pid int) *process.Handle {
	t.Helper()
	h, err := process.Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// newReader returns a Reader and closes it at the end of the test.
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

// read reads a process, which must succeed.
func read(t *testing.T, pid int) process.Info {
	t.Helper()
	r := newReader(t)
	info, err := r.Read(t.Context(), handle(t, pid), "")
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestAProcessIsReadAsItWasStarted(t *testing.T) {
	program := copyOfSleep(t, filepath.Join(t.TempDir(), "doze"))
	cmd := exec.Command(program, "600", "0")
	cmd.Args[0] = "another name"
	testutil.Start(t, cmd)

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
		t.Errorf("started %v after boot, but this process at %v", got.Start, self.Start)
	}
}

func TestTheUserIsTheRealOne(t *testing.T) {
	testutil.Privileged(t)
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4294967294}}
	testutil.Start(t, cmd)
	if uid := read(t, cmd.Process.Pid).UID; uid != 4294967294 {
		t.Errorf("got uid %d", uid)
	}
}

func TestEveryProcessOfTheMachineCanBeRead(t *testing.T) {
	testutil.Privileged(t)
	if err := process.Supported(); err != nil {
		t.Fatal(err)
	}
	pids, err := process.List()
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t)
	kernelThreads := 0
	for _, pid := range pids {
		h, err := process.Open(pid)
		if errors.Is(err, process.ErrGone) {
			continue
		} else if err != nil {
			t.Error(err)
			continue
		}
		info, err := r.Read(t.Context(), h, "")
		switch {
		case errors.Is(err, process.ErrGone), errors.Is(err, ErrStuck):
		case errors.Is(err, fs.ErrPermission) && pid == 1: // a sandbox may protect its init
		case errors.Is(err, fs.ErrNotExist): // a process without memory, during its exit
			testutil.Eventually(t, "the end of a process that is ending", func() bool { return h.Alive() != nil })
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
	cmd.Args[0] = "before"
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	testutil.Start(t, cmd)
	if args := read(t, cmd.Process.Pid).Args; !bytes.HasPrefix(args, []byte("before\x00xxx")) {
		t.Fatalf("at first the arguments are %q", args)
	}
	if _, err := stdin.Write([]byte("and after\n")); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the new arguments", func() bool {
		return bytes.HasPrefix(read(t, cmd.Process.Pid).Args, []byte("and\x00after\x00\x00"))
	})
}

func TestAProcessThatHasEndedIsNotRead(t *testing.T) {
	testutil.Privileged(t)
	withPID := testutil.BuildC(t, "test/victims/with_pid.c")
	first := testutil.Sleeper(t)
	pid := first.Process.Pid
	old := handle(t, pid)
	r := newReader(t)
	check := func(when string) {
		t.Helper()
		if info, err := r.Read(t.Context(), old, ""); !errors.Is(err, process.ErrGone) || info.PID != 0 {
			t.Errorf("%s: %+v, %v", when, info, err)
		}
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the end of the process", func() bool { return old.Alive() != nil })
	check("as a zombie")
	_ = first.Wait()
	check("after it was reaped")
	testutil.Start(t, exec.Command(withPID, strconv.Itoa(pid), "/bin/sleep", "600"))
	testutil.Eventually(t, "a process with the same pid", func() bool {
		comm, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
		return string(comm) == "sleep\n"
	})
	check("after its pid was reused")
}
