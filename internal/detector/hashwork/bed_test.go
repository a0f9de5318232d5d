package hashwork

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) {
	procread.ServeIfChild()
	os.Exit(testutil.RunWithoutLeaks(m))
}

// A bed is a detector at work, with its log.
type bed struct {
	*Detector
	t   *testing.T
	log *testutil.Buffer
}

// in returns the bed for a subtest, which fails instead of the test.
func (b *bed) in(t *testing.T) *bed { return &bed{b.Detector, t, b.log} }

func newBed(t *testing.T, change func(*Settings)) *bed {
	t.Helper()
	b := &bed{t: t, log: new(testutil.Buffer)}
	e := detectortest.Env(t, detectortest.Options{Log: slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	s := Defaults()
	if change != nil {
		change(s)
	}
	var err error
	if b.Detector, err = Load(e, detector.Policy{Settings: s, Matcher: new(match.Matcher)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	b.learned.socket = filepath.Join(t.TempDir(), "learned.sock")
	detectortest.Run(t, b.Detector)
	return b
}

// soon has the rule program examine what has computed for a second, the least that may be set, where a test
// is not about the default.
func soon(s *Settings) { s.Program.CPUTime = time.Second }

// twiceAsSoon has everything examined with as many samples as by default, in half of the CPU time.
func twiceAsSoon(s *Settings) {
	soon(s)
	s.SampleRate = 97
}

// startApart starts a program in a cgroup of its own: it is examined by its own samples only.
func startApart(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	return testutil.StartIn(t, testutil.MakeCgroup(t, fmt.Sprintf("/cryptnono-apart-%d", time.Now().UnixNano())), cmd)
}

// lines returns the verdicts on a process.
func (b *bed) lines(pid int) (all []map[string]any) {
	for text := range strings.Lines(b.log.String()) {
		l := make(map[string]any)
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			b.t.Fatalf("%q: %v", text, err)
		}
		if l["detector"] == Name && l["action"] != nil && l["pid"] == float64(pid) {
			all = append(all, l)
		}
	}
	return all
}

// dies waits for the end of a process, and returns its CPU time. It is an error if it is not
// killed, or not by a rule.
func (b *bed) dies(cmd *exec.Cmd, r rule) time.Duration {
	b.t.Helper()
	stop := time.AfterFunc(testutil.Patience(2*time.Minute), func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop.Stop()
	_ = cmd.Wait()
	s := cmd.ProcessState
	if status, ok := s.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		b.t.Fatalf("it ended with %v: %s", s, b.log.String())
	}
	var lines []map[string]any
	testutil.Eventually(b.t, "the line", func() bool {
		lines = b.lines(cmd.Process.Pid)
		return len(lines) > 0 && lines[len(lines)-1]["action"] == "killed"
	})
	if l := lines[len(lines)-1]; l["rule"] != Name+" "+r.String() {
		b.t.Errorf("the line is %v", l)
	}
	return s.UserTime() + s.SystemTime()
}
