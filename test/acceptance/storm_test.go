package acceptance

import (
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// The kernel decides and counts without the agent, which is stopped during the storm.
func TestExecsAreJudgedAndCountedWhileTheAgentIsStopped(t *testing.T) {
	testutil.Privileged(t)
	storm, word := testutil.BuildC(t, "test/victims/storm.c", "-static"), agenttest.NewWord()
	a := start(t, agenttest.Rules{Strings: []string{word}})
	if err := a.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(storm, "8", "20000", "100")
	cmd.Stdin = strings.NewReader(word)
	lives(t, cmd, "200 0 0 19800\n")
	if err := a.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}

	m := a.Metrics(t)
	if m[`processes_killed_total{source="exec"}`] != 200 || m["execs_unjudged_total"] != 0 ||
		m[`processes_checked_total{source="exec"}`] < 20000 ||
		m[`processes_allowed_total{allowedby="no-match",source="exec"}`] < 19800 {
		t.Errorf("counted %v", m)
	}
	if m["events_lost_total"] == 200 {
		t.Error("all events were lost")
	}
	allLogged(t, a, word, 200)
}

// Judging a long command line takes milliseconds. On kernels where tracing programs are
// preemptible, another process could execute meanwhile, and the kernel would not run the program
// for it. An interrupt is still possible at the entry and the exit of the program: for nanoseconds,
// or longer under emulation.
func TestALongCommandLineDoesNotHideOtherExecs(t *testing.T) {
	testutil.Privileged(t)
	storm, word := testutil.BuildC(t, "test/victims/storm.c", "-static"), agenttest.NewWord()
	a := start(t, agenttest.Rules{Strings: []string{word}})

	prefix := word[:len(word)-1] + " "
	long := slices.Repeat([]string{strings.Repeat(prefix, 100_000/len(prefix))}, 18)
	again := startSleeper(t, exec.Command("/bin/sh", append([]string{"-c", `while /bin/true "$@"; do :; done`, "sh"}, long...)...))
	onFirstCPU(t, again.Process.Pid)
	cmd := exec.Command(storm, "2", "200", "1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var output strings.Builder
	cmd.Stdout = &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	onFirstCPU(t, cmd.Process.Pid)
	_, _ = io.WriteString(stdin, word)
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	var dead, alive int
	if _, err := fmt.Sscan(output.String(), &dead, &alive); err != nil || dead+alive != 200 {
		t.Fatalf("%v, with output %q", err, &output)
	}
	unjudged := int(a.Metrics(t)["execs_unjudged_total"])
	if alive > 4 || alive > unjudged {
		t.Errorf("%d banned programs lived; %d execs are counted as not judged", alive, unjudged)
	}
	select {
	case <-again.ended:
		t.Error("the loop with the long command line has ended")
	default:
	}
}

// onFirstCPU pins a process and its future children to the first CPU.
func onFirstCPU(t *testing.T, pid int) {
	t.Helper()
	var first unix.CPUSet
	first.Set(0)
	if err := unix.SchedSetaffinity(pid, &first); err != nil {
		t.Fatal(err)
	}
}
