// Package acceptance tests the program as its users run it: on the live kernel,
// with rule files, real victims, its log and its metrics page.
//
// Each test bans words that no other process has, so that it disturbs nobody;
// only the self-test uses the built-in rules. The machine may be busy with
// anything else meanwhile.
package acceptance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// patience is how long a slow machine may take for what happens in the end.
var patience = testutil.Patience(30 * time.Second)

// cryptnono is the path of the program under test, which any user may execute.
var cryptnono string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cryptnono-acceptance")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	cryptnono = filepath.Join(dir, "cryptnono")
	return testutil.RunWithoutLeaks(m)
}

// build builds the program when the first test needs it, or copies the one that
// CRYPTNONO_PROGRAM names.
var build = sync.OnceValues(func() ([]byte, error) {
	if given := os.Getenv("CRYPTNONO_PROGRAM"); given != "" {
		text, err := os.ReadFile(given)
		if err != nil {
			return nil, err
		}
		return nil, os.WriteFile(cryptnono, text, 0o755)
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", cryptnono, "../../cmd/cryptnono")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd.CombinedOutput()
})

// needProgram ends a test that cannot run the program.
func needProgram(t *testing.T) {
	t.Helper()
	testutil.Privileged(t)
	if out, err := build(); err != nil {
		t.Fatalf("building cryptnono: %v\n%s", err, out)
	}
}

// ruleFile is a rule file, as JSON.
type ruleFile struct {
	Action     string   `json:"action,omitempty"`
	Strings    []string `json:"bannedCommandStrings,omitempty"`
	Substrings []string `json:"bannedCommandSubstrings,omitempty"`
	Programs   []string `json:"bannedPrograms,omitempty"`
	Allowed    []string `json:"allowedCommandPatterns,omitempty"`
}

// writeJSON writes v to a file that lasts as long as the test.
func writeJSON(t *testing.T, name string, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// line is a line of the agent's log.
type line struct {
	Time     time.Time
	Level    string
	Msg      string
	Action   string
	Detector string
	Source   string
	PID      int
	PPID     int
	UID      int
	Program  string
	Cmdline  string
	Cgroup   string
	Matched  string
	Rule     string
	Allowed  string  `json:"allowedby"`
	After    float64 `json:"after_seconds"`
	Listen   string
	Err      string
	raw      string

	Suppressed int // verdicts that the line stands for
}

// An agent is a run of the program.
type agent struct {
	*exec.Cmd
	t      *testing.T
	rules  string // file
	url    string
	ended  chan struct{} // closed when the log has ended
	mu     sync.Mutex
	log    []line
	status func() int // waits for the end, and returns the exit status
}

// start starts the agent and waits until it protects. It has the given rules
// and flags, and neither built-in rules, scans, nor another detector than
// execwhacker. When the test ends, it is told to end, and must do so with
// status 0 unless the test has ended it.
func start(t *testing.T, rules ruleFile, flags ...string) *agent {
	t.Helper()
	return startAs(t, rules, func(*exec.Cmd) {}, flags...)
}

// startAs is start of a command that was changed before.
func startAs(t *testing.T, rules ruleFile, change func(*exec.Cmd), flags ...string) *agent {
	t.Helper()
	needProgram(t)
	a := &agent{t: t, rules: writeJSON(t, "rules.json", rules), ended: make(chan struct{})}
	settings := writeJSON(t, "settings.json", map[string]any{
		"rules":        []string{a.rules},
		"builtinRules": false,
		"scanInterval": "0",
		"listen":       "127.0.0.1:0",
		"monero":       map[string]any{"enabled": false},
	})
	a.Cmd = exec.Command(cryptnono, append([]string{"run", "--config", settings}, flags...)...)
	a.Stderr = new(bytes.Buffer)
	a.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	change(a.Cmd)
	stdout, err := a.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	go a.read(stdout)
	a.status = sync.OnceValue(func() int {
		defer time.AfterFunc(patience, func() { _ = a.Process.Kill() }).Stop()
		<-a.ended
		_ = a.Wait()
		return a.ProcessState.ExitCode()
	})
	t.Cleanup(a.stop)
	a.url = "http://" + a.line(t, "ready", func(l line) bool { return l.Msg == "ready" }).Listen
	return a
}

// read takes the log until its end.
func (a *agent) read(log io.Reader) {
	defer close(a.ended)
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		l := line{raw: lines.Text()}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			a.t.Errorf("%v in the log line %s", err, l.raw)
		}
		a.mu.Lock()
		a.log = append(a.log, l)
		a.mu.Unlock()
	}
	if err := lines.Err(); err != nil {
		a.t.Errorf("reading the log: %v", err)
	}
}

func (a *agent) stop() {
	if a.ProcessState == nil {
		_ = a.Process.Signal(syscall.SIGTERM)
		if status := a.status(); status != 0 {
			a.t.Errorf("the agent ended with status %d", status)
		}
	}
	if a.t.Failed() {
		for _, l := range a.lines(func(line) bool { return true }) {
			a.t.Log(l.raw)
		}
		a.t.Logf("standard error: %s", a.Stderr)
	}
}

// over says whether the log has ended.
func (a *agent) over() bool {
	select {
	case <-a.ended:
		return true
	default:
		return false
	}
}

// lines returns the lines so far that are as wanted.
func (a *agent) lines(want func(line) bool) []line {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []line
	for _, l := range a.log {
		if want(l) {
			found = append(found, l)
		}
	}
	return found
}

// line waits for a line of the log, and returns the first that is as wanted.
func (a *agent) line(t *testing.T, what string, want func(line) bool) line {
	t.Helper()
	var found []line
	eventually(t, "the log line "+what, func() bool {
		over := a.over()
		found = a.lines(want)
		return over || len(found) > 0
	})
	if len(found) == 0 {
		t.Fatalf("the log ended without the line %s", what)
	}
	return found[0]
}

// verdict waits for the line with an action on a process.
func (a *agent) verdict(t *testing.T, action string, pid int) line {
	t.Helper()
	return a.line(t, action, func(l line) bool { return l.Action == action && l.PID == pid })
}

// get returns the answer to an HTTP request.
func (a *agent) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	r, err := client.Get(a.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// metrics returns the values of the metrics page by series. The names lack
// what those of the detector have in common: "cryptnono_execwhacker_".
func (a *agent) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	_, page := a.get(t, "/metrics")
	values := make(map[string]float64)
	for l := range strings.Lines(page) {
		l = strings.TrimPrefix(strings.TrimSuffix(l, "\n"), "cryptnono_execwhacker_")
		space := strings.LastIndexByte(l, ' ')
		if value, err := strconv.ParseFloat(l[space+1:], 64); err == nil && l[0] != '#' {
			values[l[:space]] = value
		}
	}
	return values
}

// eventually waits for something that happens in the end.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !happened(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never seen: %s", what)
		}
	}
}
