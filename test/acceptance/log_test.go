package acceptance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// startTo starts an agent whose log goes to out, which it has alone afterwards, and
// waits until it answers that it is ready. It scans each second. When the test ends, the
// agent must have ended by itself, or is told to, with that status.
func startTo(t *testing.T, out *os.File, word string, status int) *exec.Cmd {
	t.Helper()
	needProgram(t)
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := port.Addr().String()
	port.Close()
	rules := writeJSON(t, "rules.json", ruleFile{Strings: []string{word}})
	settings := writeJSON(t, "settings.json", map[string]any{"monero": map[string]any{"enabled": false}})
	a := exec.Command(cryptnono, "run", "--config", settings, "--builtin-rules=false", "--rules", rules, "--listen", address, "--scan-interval", "1s")
	var stderr bytes.Buffer
	a.Stdout, a.Stderr = out, &stderr
	a.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	out.Close()
	t.Cleanup(func() {
		_ = a.Process.Signal(syscall.SIGTERM)
		_ = a.Wait()
		if got := a.ProcessState.ExitCode(); got != status {
			t.Errorf("the agent ended with status %d, want %d: %s", got, status, &stderr)
		}
	})
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	eventually(t, "that the agent is ready", func() bool {
		r, err := client.Get("http://" + address + "/readyz")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	return a
}

// bannedRunning starts processes with a word that a later agent must kill by its scan.
func bannedRunning(t *testing.T, n int, word string) []*sleeper {
	t.Helper()
	var all []*sleeper
	for range n {
		all = append(all, sleep(t, word, strings.Repeat("x", 1000)))
	}
	return all
}

// The log is a pipe that is full all the while, and holds less than one line.
func TestEveryKillIsMadeWhileNobodyReadsTheLog(t *testing.T) {
	testutil.Privileged(t)
	word := newWord()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() }) // after the agent's end
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	// More than may wait for the names of their container.
	before := bannedRunning(t, 600, word)
	a := startTo(t, w, word, 0)
	for _, s := range before {
		s.isKilled()
	}
	dies(t, exec.Command("/bin/echo", word))
	told := make(chan int)
	go func() {
		n := 0
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var l line
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				t.Errorf("%v in %s", err, lines.Text())
			}
			if l.Action == "killed" {
				n += max(l.Suppressed, 1)
			}
		}
		told <- n
	}()
	if err := a.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if n := <-told; n != len(before)+1 {
		t.Errorf("the log tells of %d kills, want %d", n, len(before)+1)
	}
}

func TestEveryKillIsMadeWhereTheLogCannotBeWritten(t *testing.T) {
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
			word := newWord()
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

// A flood of one container costs another no line, and all of it is counted.
func TestAFloodOfOneContainerCostsNobodyElseALine(t *testing.T) {
	testutil.Privileged(t)
	storm, word := testutil.BuildC(t, "test/victims/storm.c", "-static"), newWord()
	a := start(t, ruleFile{Strings: []string{word}})
	loud, quiet := "/docker/"+strings.Repeat("a", 64), "/docker/"+strings.Repeat("b", 64)
	const execs, others = 20_000, 8
	cmd := inCgroup(t, loud, exec.Command(storm, "4", fmt.Sprint(execs), "1"))
	a.knows(t, loud)
	cmd.Stdin = strings.NewReader(word)
	var output strings.Builder
	cmd.Stdout = &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for range others {
		other := inCgroup(t, quiet, exec.Command("/bin/echo", word))
		dies(t, other)
		pids = append(pids, other.Process.Pid)
		time.Sleep(100 * time.Millisecond)
	}
	if err := cmd.Wait(); err != nil || output.String() != fmt.Sprintf("%d 0 0 0\n", execs) {
		t.Errorf("%v, with output %q", err, output.String())
	}
	m := a.allTold(t, word, execs+others)
	if n := int(m[`processes_killed_total{source="exec"}`]); n != execs+others {
		t.Errorf("%d killed, want %d", n, execs+others)
	}
	lost := int(m["events_lost_total"])
	t.Logf("%d events lost", lost)
	of := func(cgroup string) int {
		return len(a.lines(func(l line) bool { return l.Cgroup == cgroup && l.Action == "killed" }))
	}
	if n := of(loud); n > 11*3 { // in a run of up to three minutes
		t.Errorf("%d lines of the flood", n)
	}
	found := 0
	for _, pid := range pids {
		found += len(a.lines(func(l line) bool { return l.PID == pid && l.Action == "killed" }))
	}
	if found+lost < others || found > others {
		t.Errorf("%d lines of the other container, want %d", found, others)
	}
}

// allTold waits until the log tells of so many kills by a word, but for events that were
// lost, and ends the agent. It returns the metrics of then.
func (a *agent) allTold(t *testing.T, word string, kills int) map[string]float64 {
	t.Helper()
	var m map[string]float64
	of := func() int {
		return len(a.lines(func(l line) bool { return l.Action == "killed" && l.Matched == word }))
	}
	eventually(t, "the last of the events", func() bool {
		m = a.metrics(t)
		return of()+int(m["cryptnono_verdict_lines_suppressed_total"]+m["events_lost_total"]) >= kills
	})
	a.stop() // what is suppressed is told then
	told := 0
	for _, l := range a.lines(func(l line) bool { return l.Action == "killed" && l.Matched == word }) {
		told += max(l.Suppressed, 1)
	}
	if lost := int(m["events_lost_total"]); told+lost != kills {
		t.Errorf("%d verdicts in the log and %d lost, want %d together", told, lost, kills)
	}
	return m
}
