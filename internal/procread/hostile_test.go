package procread

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestANameCannotForgeTheOtherFields(t *testing.T) {
	for _, name := range []string{"a) R 1 (b\n", "\nUid:\t7\t7", ") Z 1 1", "((((", "\xff\x1b[2J"} {
		program := copyOfSleep(t, filepath.Join(t.TempDir(), name))
		got := read(t, testutil.Start(t, exec.Command(program, "600")).Process.Pid)
		if got.Comm != name || got.Program != program {
			t.Errorf("%q: comm %q, program %q", name, got.Comm, got.Program)
		}
		if got.PPID != os.Getpid() || got.UID != uint32(os.Getuid()) || got.KernelThread || got.Start == 0 {
			t.Errorf("%q: got %+v", name, got)
		}
	}
}

func TestARemovedProgramKeepsItsName(t *testing.T) {
	program := copyOfSleep(t, filepath.Join(t.TempDir(), "doze"))
	pid := testutil.Start(t, exec.Command(program, "600")).Process.Pid
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, pid).Program, program+" (deleted)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// makeAll creates directories below root, with a path that can be longer than PATH_MAX. It
// returns a file descriptor of the last, and removes all at the end of the test.
func makeAll(t *testing.T, root, path string) int {
	t.Helper()
	dir, err := unix.Open(root, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for name := range strings.SplitSeq(path[1:], "/") {
		if err != nil {
			t.Fatal(err)
		}
		if err = unix.Mkdirat(dir, name, 0o700); err != nil {
			t.Fatal(err)
		}
		above := dir
		t.Cleanup(func() {
			if err := unix.Unlinkat(above, name, unix.AT_REMOVEDIR); err != nil {
				t.Error(err)
			}
			unix.Close(above)
		})
		dir, err = unix.Openat(above, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(dir) })
	return dir
}

func TestAProcessWhosePathIsTooLongIsReadWithoutIt(t *testing.T) {
	dir := makeAll(t, t.TempDir(), strings.Repeat("/"+strings.Repeat("d", 250), 17))
	program := copyOfSleep(t, fmt.Sprintf("/proc/self/fd/%d/doze", dir))
	t.Cleanup(func() { os.Remove(program) })
	got := read(t, testutil.Start(t, exec.Command(program, "600")).Process.Pid)
	if got.Program != "" || got.Comm != "doze" || string(got.Args) != program+"\x00600\x00" {
		t.Errorf("got program %q, comm %q, arguments %q", got.Program, got.Comm, got.Args)
	}
}

func TestAProcessWithoutArgumentsIsNotTakenForAKernelThread(t *testing.T) {
	cmd := exec.Command(testutil.BuildC(t, "test/victims/exec_empty_argv.c"), "/bin/cat")
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	testutil.Start(t, cmd)
	testutil.Eventually(t, "the exec", func() bool {
		got := read(t, cmd.Process.Pid)
		return got.Comm == "cat" && !got.KernelThread && len(bytes.Trim(got.Args, "\x00")) == 0
	})
}

func TestAProcessWhoseFirstThreadHasEndedCanBeReadAndKilled(t *testing.T) {
	program := testutil.BuildC(t, "test/victims/exit_leader.c")
	cmd := testutil.Start(t, exec.Command(program, "argument"))
	pid := cmd.Process.Pid
	h := handle(t, pid)
	testutil.Eventually(t, "the end of the first thread", func() bool {
		s, err := stat(pid)
		return err == nil && s.State == "Z"
	})
	got := read(t, pid)
	if got.Program != program || string(got.Args) != program+"\x00argument\x00" || got.Rewritten {
		t.Errorf("got program %q, arguments %q", got.Program, got.Args)
	}
	if got.PID != pid || got.Start != h.Start() {
		t.Errorf("got pid %d, start %v; want %d, %v", got.PID, got.Start, pid, h.Start())
	}
	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	if sig := testutil.DiedOf(cmd); sig != syscall.SIGKILL {
		t.Errorf("died of %v", sig)
	}
}
