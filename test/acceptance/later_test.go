package acceptance

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// manyWords returns words to ban, and 100 KB of their prefixes, which take long to match: each
// needs another part of a large table.
func manyWords() (words []string, text string) {
	const bytes = 100_000
	var b strings.Builder
	for range 20_000 {
		word := strings.ToLower(rand.Text())
		words = append(words, word)
		if b.Len() < bytes {
			b.WriteString(word[:8] + " ")
		}
	}
	return words, b.String()
}

// atOnce executes n programs at the same time, two thirds of them with the word, all after a text
// that is repeated the given number of times. Those with the word must be killed before their
// first instruction, the others not. It first calls prepare with the process that will start
// them.
func atOnce(t *testing.T, word, text string, n, times int, prepare func(pid int)) {
	t.Helper()
	cmd := exec.Command(testutil.BuildC(t, "test/victims/exec_at_once.c", "-static"), fmt.Sprint(n), fmt.Sprint(times))
	var output strings.Builder
	cmd.Stdout = &output
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(4*agenttest.Patience(), func() { _ = cmd.Process.Kill() }).Stop()
	prepare(cmd.Process.Pid)
	_, _ = io.WriteString(stdin, word+"\n"+text+"\n")
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v, with output %.200q", err, &output)
	}
	if want := fmt.Sprintf("%d 0 0 %d\n", n-(n+2)/3, (n+2)/3); output.String() != want {
		t.Errorf("killed and alive of the banned, of the others: %.200q, want %q", &output, want)
	}
}

// defers reports whether judgements are deferred on this kernel.
func defers(t *testing.T) bool {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	rt, _ := os.ReadFile("/sys/kernel/realtime")
	return (major > 6 || major == 6 && minor >= 18) && strings.TrimSpace(string(rt)) != "1"
}

// 512 judgements can be deferred at a time. The kernel carries out further ones in the hook and
// counts them.
func TestMoreJudgementsThanCanBeDeferredAtOnce(t *testing.T) {
	testutil.Privileged(t)
	words, text := manyWords()
	a := start(t, agenttest.Rules{Strings: words})
	// The number of pending judgements depends on the scheduler.
	const most = 10
	rounds, beyond := 0, 0.0
	for beyond == 0 && rounds < most && !t.Failed() {
		atOnce(t, words[0], text, 1000, 2, func(int) {})
		rounds++
		beyond = a.Metrics(t)["execs_not_deferred_total"]
		if !defers(t) {
			break
		}
	}
	t.Logf("%v of %d were not deferred", beyond, rounds*1000)
	if (beyond > 0) != defers(t) || beyond > float64(rounds*1000) {
		t.Errorf("%v of %d were not deferred", beyond, rounds*1000)
	}
	if killed := a.Metrics(t)[`processes_killed_total{source="exec"}`]; killed != float64(666*rounds) {
		t.Errorf("%v of %d are counted as killed", killed, 666*rounds)
	}
	// All slots are free again.
	atOnce(t, words[0], text, 30, 4, func(int) {})
	if now := a.Metrics(t)["execs_not_deferred_total"]; now != beyond {
		t.Errorf("%v execs of 30 were not deferred afterwards", now-beyond)
	}
}

// A real-time task preempts others, and others may preempt it, during a deferred judgement.
func TestLongArgumentsOfRealTimeTasksAreJudged(t *testing.T) {
	testutil.Privileged(t)
	words, text := manyWords()
	a := start(t, agenttest.Rules{Strings: words})
	const busy = 20
	for _, c := range []struct {
		name     string
		priority uint32
	}{
		{"with a higher priority than a busy one", busy + 10},
		{"with the same priority as a busy one", busy},
		{"with a lower priority than a busy one", busy - 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			killed := func(m map[string]float64) float64 { return m[`processes_killed_total{source="exec"}`] }
			before := killed(a.Metrics(t))
			defer keepFirstCPUBusy(t, busy)()
			atOnce(t, words[0], text, 30, 2, func(pid int) {
				onFirstCPU(t, pid)
				realtime(t, pid, c.priority)
			})
			if m := a.Metrics(t); killed(m)-before != 20 || m["execs_not_deferred_total"] != 0 {
				t.Errorf("counted %v", m)
			}
		})
	}
}

func realtime(t *testing.T, pid int, priority uint32) {
	t.Helper()
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: priority}
	if err := unix.SchedSetAttr(pid, &attr, 0); err != nil {
		t.Fatalf("setting the scheduling policy: %v", err)
	}
}

// keepFirstCPUBusy runs a real-time thread on the first CPU, with short pauses, until the returned
// function is called.
func keepFirstCPUBusy(t *testing.T, priority uint32) (end func()) {
	t.Helper()
	began, stop, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		// The thread must not end: Pdeathsig would kill an agent that it has started.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		var cpus unix.CPUSet
		ordinary := unix.SchedAttr{Size: unix.SizeofSchedAttr}
		if err := unix.SchedGetaffinity(0, &cpus); err != nil {
			t.Errorf("reading the CPUs of a thread: %v", err)
		}
		defer func() { _, _ = unix.SchedSetAttr(0, &ordinary, 0), unix.SchedSetaffinity(0, &cpus) }()
		onFirstCPU(t, 0)
		realtime(t, 0, priority)
		close(began)
		for {
			select {
			case <-stop:
				return
			default:
			}
			for spin := time.Now(); time.Since(spin) < 5*time.Millisecond; {
			}
			nap := unix.NsecToTimespec(time.Millisecond.Nanoseconds())
			_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &nap, nil)
		}
	}()
	<-began
	return func() {
		close(stop)
		<-ended
	}
}
