// Package agenttest runs the real program for tests, and reads its log and its metrics page. It
// needs root.
//
// Each test bans words that no other process has in its arguments (NewWord), so that it does
// not kill other programs on the machine.
package agenttest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/execwhacker"
	"github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// Patience returns the time limit for events that a slow machine may delay.
func Patience() time.Duration { return testutil.Patience(time.Minute) }

// Rules are a rule file.
type Rules struct {
	Action     string   `json:"action,omitempty"`
	Strings    []string `json:"bannedCommandStrings,omitempty"`
	Substrings []string `json:"bannedCommandSubstrings,omitempty"`
	Programs   []string `json:"bannedPrograms,omitempty"`
	Allowed    []string `json:"allowedCommandPatterns,omitempty"`

	Patterns     []string   `json:"bannedCommandPatterns,omitempty"`
	Combinations [][]string `json:"bannedCommandCombinations,omitempty"`
	Environment  string     `json:"environment,omitempty"`
	SpareShells  bool       `json:"spareShells,omitempty"`
}

// A Line is a line of the agent's log.
type Line struct {
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
	// Suppressed is the number of verdicts without a line that this line counts.
	Suppressed int
	Execs      int // without a line, at level debug
	Listen     string
	Err        string
	Raw        string `json:"-"`
}

// Options are the parameters of an agent.
type Options struct {
	Program  string // "" for the result of Program
	Rules    Rules
	Settings map[string]any // override the defaults of Start
	Flags    []string       // after "run --config FILE"
	Wrap     []string       // a command that executes the agent, such as prlimit
	Env      []string       // added to the environment
	Unread   bool           // do not read the log after the line "ready", until ReadOn
	LogTo    *os.File       // write the log to it and do not read it; Start closes the file
	Status   int            // the expected exit status
	MayFail  bool           // do not fail the test if the agent fails
}

// An Agent is a run of the program.
type Agent struct {
	*exec.Cmd
	Rules    string // its rule file
	Settings string // its settings file
	URL      string // of its HTTP endpoints

	t       *testing.T
	want    int // the expected exit status
	mayFail bool
	unread  bool
	release chan struct{} // closed by ReadOn
	ended   chan struct{} // closed at the end of the log
	mu      sync.Mutex
	log     []Line
	status  func() int // waits for the exit and returns the status
}

// Start starts the agent and waits until it is ready. By default it has no built-in rules, no
// scans and no detector except execwhacker. When the test ends, Start stops the agent and checks
// its exit status, unless the test has ended it.
func Start(t *testing.T, o Options) *Agent {
	t.Helper()
	if o.LogTo != nil {
		return startLogging(t, o)
	}
	a := launch(t, o)
	a.URL = "http://" + a.Line(t, "ready", func(l Line) bool { return l.Msg == "ready" }).Listen
	return a
}

// startLogging starts the agent with its log in a file, and polls /readyz instead of the log. The
// endpoints are on a free port of the loopback.
func startLogging(t *testing.T, o Options) *Agent {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	o.Settings = maps.Clone(o.Settings)
	if o.Settings == nil {
		o.Settings = make(map[string]any)
	}
	o.Settings["listen"] = l.Addr().String()
	a := launch(t, o)
	a.URL = "http://" + l.Addr().String()
	Eventually(t, "the agent is ready", func() bool {
		status, _, err := a.Get("/readyz", Patience())
		return a.Over() || err == nil && status == http.StatusOK
	})
	return a
}

// Launch starts an agent that may fail to start, and waits until it is ready or has ended.
func Launch(t *testing.T, o Options) *Agent {
	t.Helper()
	o.MayFail = true
	a := launch(t, o)
	Within(Patience(), func() bool { return a.Over() || a.Ready() })
	return a
}

func launch(t *testing.T, o Options) *Agent {
	t.Helper()
	program := o.Program
	if program == "" {
		program = Program(t)
	}
	a := &Agent{t: t, want: o.Status, mayFail: o.MayFail, unread: o.Unread, release: make(chan struct{}), ended: make(chan struct{})}
	a.Rules = WriteJSON(t, "rules.json", o.Rules)
	settings := map[string]any{
		"rules":        []string{a.Rules},
		"builtinRules": false,
		"scanInterval": "0",
		"listen":       "127.0.0.1:0",
	}
	for _, k := range detectors.All() {
		settings[k.Name] = map[string]any{"enabled": k.Name == execwhacker.Name}
	}
	maps.Copy(settings, o.Settings)
	a.Settings = WriteJSON(t, "settings.json", settings)
	command := slices.Concat(o.Wrap, []string{program, "run", "--config", a.Settings}, o.Flags)
	a.Cmd = exec.Command(command[0], command[1:]...)
	a.Stderr = new(bytes.Buffer)
	if o.Env != nil {
		a.Env = append(a.Environ(), o.Env...)
	}
	a.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := a.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if o.LogTo != nil {
		defer o.LogTo.Close()
		// The agent still inherits the pipe, so that its end shows the end of the agent.
		a.ExtraFiles, a.Stdout = []*os.File{a.Stdout.(*os.File)}, o.LogTo
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	go a.read(stdout)
	a.status = sync.OnceValue(func() int {
		patience := Patience()
		if a.mayFail {
			patience /= 6
		}
		defer time.AfterFunc(patience, func() { _ = a.Process.Kill() }).Stop()
		a.ReadOn()
		<-a.ended
		_ = a.Wait()
		return a.ProcessState.ExitCode()
	})
	t.Cleanup(a.Stop)
	return a
}

// read reads the log until its end.
func (a *Agent) read(log io.Reader) {
	defer close(a.ended)
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		l := Line{Raw: lines.Text()}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			a.t.Errorf("%v in the log line %s", err, l.Raw)
		}
		a.mu.Lock()
		a.log = append(a.log, l)
		a.mu.Unlock()
		if a.unread && l.Msg == "ready" {
			<-a.release
		}
	}
	if err := lines.Err(); err != nil {
		a.t.Errorf("reading the log: %v", err)
	}
}

// ReadOn resumes the reading of an unread log.
func (a *Agent) ReadOn() {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.release:
	default:
		close(a.release)
	}
}

// Stop stops the agent and checks its exit status.
func (a *Agent) Stop() {
	if a.ProcessState == nil {
		_ = a.Process.Signal(syscall.SIGTERM)
		if status := a.status(); status != a.want && !a.mayFail {
			a.t.Errorf("the agent ended with status %d, want %d", status, a.want)
		}
	}
	if a.t.Failed() {
		all := a.Lines(func(Line) bool { return true })
		const last = 40
		for _, l := range all[max(len(all)-last, 0):] {
			a.t.Log(l.Raw)
		}
		a.t.Logf("standard error: %s", a.Stderr)
	}
}

// Errors returns the standard error of an agent that has ended, "" for a running one.
func (a *Agent) Errors() string {
	if !a.Over() {
		return ""
	}
	a.status()
	return a.Stderr.(*bytes.Buffer).String()
}

// End waits for the end of the agent and returns its exit status.
func (a *Agent) End() int { return a.status() }

// Ready reports whether the log has the line "ready".
func (a *Agent) Ready() bool {
	return len(a.Lines(func(l Line) bool { return l.Msg == "ready" })) > 0
}

// Over reports whether the log, and so the agent, has ended.
func (a *Agent) Over() bool {
	select {
	case <-a.ended:
		return true
	default:
		return false
	}
}

// Lines returns the lines so far for which want is true.
func (a *Agent) Lines(want func(Line) bool) []Line {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []Line
	for _, l := range a.log {
		if want(l) {
			found = append(found, l)
		}
	}
	return found
}

// Line waits for a line for which want is true, and returns the first one.
func (a *Agent) Line(t *testing.T, what string, want func(Line) bool) Line {
	t.Helper()
	var found []Line
	Eventually(t, "the log line "+what, func() bool {
		over := a.Over()
		found = a.Lines(want)
		return over || len(found) > 0
	})
	if len(found) == 0 {
		t.Fatalf("the log ended without the line %s", what)
	}
	return found[0]
}

// Verdict waits for the line with an action on a process.
func (a *Agent) Verdict(t *testing.T, action string, pid int) Line {
	t.Helper()
	return a.Line(t, action, func(l Line) bool { return l.Action == action && l.PID == pid })
}

// Verdicts returns the lines so far with an action on a process.
func (a *Agent) Verdicts(action string, pid int) []Line {
	return a.Lines(func(l Line) bool { return l.Action == action && l.PID == pid })
}

// Reload makes the agent reload its files and waits until it has.
func (a *Agent) Reload(t *testing.T) {
	t.Helper()
	reloaded := func(l Line) bool { return strings.HasPrefix(l.Msg, "reloaded") }
	before := len(a.Lines(reloaded))
	if err := a.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "the reload", func() bool { return a.Over() || len(a.Lines(reloaded)) > before })
}

// Set changes settings in the agent's settings file.
func (a *Agent) Set(t *testing.T, settings map[string]any) {
	t.Helper()
	text, err := os.ReadFile(a.Settings)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	maps.Copy(all, settings)
	if text, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.Settings, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Eventually waits until happened returns true.
func Eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	if !Within(Patience(), happened) {
		t.Fatalf("never seen: %s", what)
	}
}

// Within reports whether happened returns true within a time.
func Within(d time.Duration, happened func() bool) bool {
	for end := time.Now().Add(d); !happened(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
