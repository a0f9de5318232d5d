package acceptance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// startTo starts an agent that logs to a file and scans each second. It must exit with the given
// status.
func startTo(t *testing.T, log *os.File, word string, status int) *agenttest.Agent {
	t.Helper()
	return agenttest.Start(t, agenttest.Options{
		Rules: agenttest.Rules{Strings: []string{word}}, Settings: map[string]any{"scanInterval": "1s"}, LogTo: log, Status: status,
	})
}

// bannedRunning starts processes with a word, for the scan of an agent that is started later.
func bannedRunning(t *testing.T, n int, word string) []*sleeper {
	t.Helper()
	var all []*sleeper
	for range n {
		all = append(all, sleep(t, word, strings.Repeat("x", 1000)))
	}
	return all
}

// The log is a pipe that is full and holds less than one line.
func TestAllProcessesAreKilledWhileTheLogIsNotRead(t *testing.T) {
	testutil.Privileged(t)
	word := agenttest.NewWord()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() }) // after the agent's end
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	// More than the lines that can wait for the names of their container.
	before := bannedRunning(t, 600, word)
	a := startTo(t, w, word, 0)
	for _, s := range before {
		s.isKilled()
	}
	dies(t, exec.Command("/bin/echo", word))
	logged := make(chan int)
	go func() {
		n := 0
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var l agenttest.Line
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				t.Errorf("%v in %s", err, lines.Text())
			}
			if l.Action == "killed" {
				n += max(l.Suppressed, 1)
			}
		}
		logged <- n
	}()
	a.Stop()
	if n := <-logged; n != len(before)+1 {
		t.Errorf("the log has %d kills, want %d", n, len(before)+1)
	}
}

func TestAllProcessesAreKilledIfTheLogCannotBeWritten(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	for name, open := range map[string]func() (*os.File, error){
		"a pipe that is closed": func() (*os.File, error) {
			r, w, err := os.Pipe()
			if err == nil {
				r.Close()
			}
			return w, err
		},
		"a disk that is full": func() (*os.File, error) { return os.OpenFile("/dev/full", os.O_WRONLY, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			word := agenttest.NewWord()
			out, err := open()
			if err != nil {
				t.Fatal(err)
			}
			before := bannedRunning(t, 3, word)
			startTo(t, out, word, 1)
			for _, s := range before {
				s.isKilled()
			}
			dies(t, exec.Command("/bin/echo", word))
		})
	}
}

// All lines of the other container are written, and all verdicts are counted.
func TestAFloodOfOneContainerSuppressesNoLinesOfAnother(t *testing.T) {
	testutil.Privileged(t)
	storm, word := testutil.BuildC(t, "test/victims/storm.c", "-static"), agenttest.NewWord()
	a := start(t, agenttest.Rules{Strings: []string{word}})
	began := time.Now()
	loud, quiet := "/docker/"+strings.Repeat("a", 64), "/docker/"+strings.Repeat("b", 64)
	const execs, others = 20_000, 8
	cmd := agenttest.InCgroup(t, loud, exec.Command(storm, "4", fmt.Sprint(execs), "1"))
	waitForClass(t, a, loud)
	cmd.Stdin = strings.NewReader(word)
	var output strings.Builder
	cmd.Stdout = &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for range others {
		other := agenttest.InCgroup(t, quiet, exec.Command("/bin/echo", word))
		dies(t, other)
		pids = append(pids, other.Process.Pid)
		time.Sleep(100 * time.Millisecond)
	}
	if err := cmd.Wait(); err != nil || output.String() != fmt.Sprintf("%d 0 0 0\n", execs) {
		t.Errorf("%v, with output %q", err, output.String())
	}
	m := allLogged(t, a, word, execs+others)
	if n := int(m[`processes_killed_total{source="exec"}`]); n != execs+others {
		t.Errorf("%d killed, want %d", n, execs+others)
	}
	lost := int(m["events_lost_total"])
	t.Logf("%d events lost", lost)
	of := func(cgroup string) int {
		return len(a.Lines(func(l agenttest.Line) bool { return l.Cgroup == cgroup && l.Action == "killed" }))
	}
	if n, most := of(loud), 11*(2+int(time.Since(began).Minutes())); n > most {
		t.Errorf("%d lines of the flood, want at most %d", n, most)
	}
	found := 0
	for _, pid := range pids {
		found += len(a.Lines(func(l agenttest.Line) bool { return l.PID == pid && l.Action == "killed" }))
	}
	if found+lost < others || found > others {
		t.Errorf("%d lines of the other container, want %d", found, others)
	}
}

// allLogged waits until the given number of kills by a word is logged, suppressed or lost, and
// ends the agent. It returns the metrics before the end.
func allLogged(t *testing.T, a *agenttest.Agent, word string, kills int) map[string]float64 {
	t.Helper()
	var m map[string]float64
	of := func() int {
		return len(a.Lines(func(l agenttest.Line) bool { return l.Action == "killed" && l.Matched == word }))
	}
	agenttest.Eventually(t, "the last of the events", func() bool {
		m = a.Metrics(t)
		return of()+int(m["cryptnono_verdict_lines_suppressed_total"]+m["events_lost_total"]) >= kills
	})
	a.Stop() // writes the lines for suppressed verdicts
	logged := 0
	for _, l := range a.Lines(func(l agenttest.Line) bool { return l.Action == "killed" && l.Matched == word }) {
		logged += max(l.Suppressed, 1)
	}
	if lost := int(m["events_lost_total"]); logged+lost != kills {
		t.Errorf("%d verdicts in the log and %d lost, want %d together", logged, lost, kills)
	}
	return m
}
