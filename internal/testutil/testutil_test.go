package testutil

import (
	"debug/elf"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

var plain = os.Getenv("CRYPTNONO_TEST_PLAIN") != ""

func TestMain(m *testing.M) {
	if plain {
		os.Exit(m.Run())
	}
	os.Exit(RunWithoutLeaks(m))
}

// Tests give threads other namespaces and user ids. /proc/PID shows those of the main thread.
func TestNoTestRunsInTheMainThread(t *testing.T) {
	if !plain { // RunWithoutLeaks has mostly left the main thread to the runtime's signals
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "CRYPTNONO_TEST_PLAIN=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	const threads = 64 // all at once, so that the main thread is among them if it is free
	var all, ended sync.WaitGroup
	all.Add(threads)
	for range threads {
		ended.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait()
			if unix.Gettid() == os.Getpid() {
				t.Error("a goroutine runs in the main thread")
			}
		})
	}
	ended.Wait()
}

func TestALeakFailsThePackage(t *testing.T) {
	// The test runs itself for each kind.
	const variable = "CRYPTNONO_TEST_LEAK"
	switch os.Getenv(variable) {
	case "nothing":
		return
	case "descriptor":
		if _, _, err := os.Pipe(); err != nil {
			t.Fatal(err)
		}
		return
	case "goroutine":
		go func() { select {} }()
		return
	}
	for kind, sign := range map[string]string{
		"nothing":    "PASS",
		"descriptor": "pipe:[",
		"goroutine":  t.Name() + ".func1",
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestALeakFailsThePackage$")
			cmd.Env = append(os.Environ(), variable+"="+kind)
			out, err := cmd.CombinedOutput()
			if (err == nil) != (kind == "nothing") || !strings.Contains(string(out), sign) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// Tests the programs that need no privileges and end by themselves.
func TestTheProgramsInVictimsWork(t *testing.T) {
	hello := BuildC(t, "test/victims/hello.c")
	built := make(map[string]string)
	for _, c := range []struct {
		victim string
		args   []string
		output string
		status int
	}{
		{"exec_thread", []string{hello, "a", "b"}, "ran 3\n", 0},
		{"exec_leaderless", []string{hello, "a"}, "ran 2\n", 0},
		{"exec_guarded", []string{"trace", hello, "a"}, "ran 2\n", 0},
		{"exec_guarded", []string{"stop", hello, "a"}, "ran 2\n", 0},
		{"clone_vm_exec", []string{hello, "a"}, "ran 2\n", 0},
		{"clone_vm_exec", []string{"/bin/sh", "-c", "kill -9 $$"}, "", 137},
		{"vfork_exec", []string{hello, "a"}, "ran 2\n", 0},
		{"vfork_exec", []string{"/bin/sh", "-c", "exit 3"}, "", 3},
		{"vfork_exec", []string{"/bin/sh", "-c", "kill -9 $$"}, "", 137},
		{"vfork_exec", []string{"/nowhere"}, "", 127},
		{"execveat_memfd", []string{hello, "a", "b", "c"}, "ran 3\n", 0},
		{"execveat_memfd", []string{"/bin/sh", "sh", "-c", "readlink /proc/$$/exe"}, "/memfd: (deleted)\n", 0},
		{"fake_argv0", []string{"/bin/sh", "fake", "-c", "echo $0"}, "fake\n", 0},
	} {
		if built[c.victim] == "" {
			built[c.victim] = BuildC(t, "test/victims/"+c.victim+".c")
		}
		cmd := exec.Command(built[c.victim], c.args...)
		out, _ := cmd.Output()
		if status := cmd.ProcessState.ExitCode(); string(out) != c.output || status != c.status {
			t.Errorf("%s %q: got %q and status %d, want %q and %d", c.victim, c.args, out, status, c.output, c.status)
		}
	}
}

func TestAProgramCanBeStartedWithoutArguments(t *testing.T) {
	hello, empty := BuildC(t, "test/victims/hello.c"), BuildC(t, "test/victims/exec_empty_argv.c")
	out, err := exec.Command(empty, hello).Output()
	// Linux 5.18 and later add an empty string.
	if got := string(out); err != nil || got != "ran 0\n" && got != "ran 1\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestA32BitProgramRunsHere(t *testing.T) {
	if runtime.GOARCH != "amd64" || testing.Short() {
		t.Skip("needs gcc-multilib")
	}
	program := BuildC(t, "test/victims/hello.c", "-m32")
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	out, err := exec.Command(program).Output()
	if err != nil || string(out) != "ran 1\n" || file.Class != elf.ELFCLASS32 {
		t.Errorf("got %q, %v, %v", out, err, file.Class)
	}
}
