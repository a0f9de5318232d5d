package process

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestKillEndsTheProcess(t *testing.T) {
	cmd := testutil.Sleeper(t)
	if err := handle(t, cmd.Process.Pid).Kill(); err != nil {
		t.Fatal(err)
	}
	if sig := testutil.DiedOf(cmd); sig != syscall.SIGKILL {
		t.Errorf("died of %v", sig)
	}
}

func TestAProcessThatHasEndedIsGone(t *testing.T) {
	cmd := testutil.Sleeper(t)
	pid := cmd.Process.Pid
	h := handle(t, pid)
	check := func(when string) {
		t.Helper()
		if _, err := Open(pid); !errors.Is(err, ErrGone) {
			t.Errorf("%s, opening: %v", when, err)
		}
		if err := h.Kill(); !errors.Is(err, ErrGone) {
			t.Errorf("%s, killing: %v", when, err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the zombie", func() bool {
		s, err := readStat("/proc/" + strconv.Itoa(pid))
		return err == nil && s.zombie
	})
	check("as a zombie")
	_ = cmd.Wait()
	check("after it was reaped")
}

func TestAReusedPidIsAnotherProcess(t *testing.T) {
	testutil.Privileged(t)
	withPID := testutil.BuildC(t, "test/victims/with_pid.c")
	first := testutil.Sleeper(t)
	pid := first.Process.Pid
	old := handle(t, pid)
	event := Event{Who: Who{PID: pid, Start: old.start}}
	// The processes must start in different clock ticks.
	testutil.Eventually(t, "a clock tick", func() bool { return handle(t, testutil.Sleeper(t).Process.Pid).start > old.start })
	testutil.End(first)
	testutil.Start(t, exec.Command(withPID, strconv.Itoa(pid), "/bin/sleep", "600"))
	testutil.Eventually(t, "the second process", func() bool {
		comm, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
		return string(comm) == "sleep\n"
	})

	if err := old.Kill(); !errors.Is(err, ErrGone) {
		t.Errorf("the old handle kills: %v", err)
	}
	if _, err := event.Open(); !errors.Is(err, ErrGone) {
		t.Errorf("an event about the first process opens: %v", err)
	}
	second := handle(t, pid)
	if err := second.Alive(); err != nil {
		t.Errorf("the second process: %v", err)
	}
	again, err := Event{Who: Who{PID: pid, Start: second.start}}.Open()
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestTheIdOfAThreadIsNotAPid(t *testing.T) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			t.Fatal(err)
		}
		if tid == os.Getpid() {
			continue
		}
		if _, err := Open(tid); !errors.Is(err, ErrGone) {
			t.Errorf("opening thread %d: %v", tid, err)
		}
	}
	for _, pid := range []int{0, -1, 1 << 30} {
		if _, err := Open(pid); !errors.Is(err, ErrGone) {
			t.Errorf("opening %d: %v", pid, err)
		}
	}
}

func TestInitTheAgentAndKernelThreadsAreNeverKilled(t *testing.T) {
	pids := []int{1, os.Getpid()}
	// In the initial PID namespace, 2 is the parent of all kernel threads.
	if comm, _ := os.ReadFile("/proc/2/comm"); string(comm) == "kthreadd\n" {
		pids = append(pids, 2)
	}
	for _, pid := range pids {
		if err := handle(t, pid).Protected(); !errors.Is(err, ErrProtected) {
			t.Errorf("%d: %v", pid, err)
		}
	}
	// Kill calls Protected: tested where a mistake would only end this test.
	if err := handle(t, os.Getpid()).Kill(); !errors.Is(err, ErrProtected) {
		t.Errorf("killing this process: %v", err)
	}
}

func TestAClosedHandleKillsNoProcess(t *testing.T) {
	closed, err := Open(testutil.Sleeper(t).Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	// Its file descriptor has the number of the closed one.
	other := handle(t, testutil.Sleeper(t).Process.Pid)
	if err := closed.Kill(); err == nil {
		t.Error("killed")
	}
	if err := other.Alive(); err != nil {
		t.Errorf("the other process: %v", err)
	}
}
