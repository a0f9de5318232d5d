package escalate

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// The kills of these settings.
const parentKills, containerKills = 3, 6

var both = Settings{Parent: rules.Kill, Container: rules.Kill, ParentKills: parentKills, ContainerKills: containerKills, Within: time.Hour}

// A bed is a running escalator.
type bed struct {
	*Escalator
	env detector.Env

	mu    sync.Mutex
	lines bytes.Buffer // the log
	each  bool         // a line says that a container was ended process by process
	fakes int
}

func (b *bed) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines.Write(p)
}

// run starts an escalator whose steps are not limited.
func run(t *testing.T, s Settings, o detectortest.Options) *bed {
	t.Helper()
	b := new(bed)
	o.Log = slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.Containers == nil {
		o.Containers = detectortest.NoRuntime{}
	}
	b.env = detectortest.Env(t, o)
	limits := killlimit.Limits{Counted: s.Counted(), Cooldown: time.Hour}
	if err := b.env.Judge.Limit.Apply(limits); err != nil {
		t.Fatal(err)
	}
	var err error
	b.Escalator, err = New(Options{Settings: s, Judge: b.env.Judge, Inventory: b.env.Inventory, Containers: o.Containers, Log: o.Log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// A line of the log.
type line struct {
	Msg, Action, Detector, Source, Rule, Cgroup string
	Allowed                                     string `json:"allowedby"`
	PID, UID, Kills                             int
	Limited                                     bool
}

// line waits for the next line of a step.
func (b *bed) line(t *testing.T) (l line) {
	t.Helper()
	testutil.Eventually(t, "a line of a step", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		for {
			text, err := b.lines.ReadBytes('\n')
			if err != nil {
				return false
			}
			b.each = b.each || strings.Contains(string(text), "process by process")
			l = line{}
			if json.Unmarshal(text, &l) == nil && l.Detector == Name {
				return true
			}
		}
	})
	return l
}

// quiet checks that no step is taken after a kill.
func (b *bed) quiet(t *testing.T) {
	t.Helper()
	b.env.Judge.Limit.NoteKill()
	time.Sleep(4 * pause)
	b.mu.Lock()
	defer b.mu.Unlock()
	if strings.Contains(b.lines.String(), `"detector":"`+Name+`"`) {
		t.Errorf("a step was taken: %s", b.lines.String())
	}
}

// kills counts n kills of processes that had the place of another one, which lives.
func (b *bed) kills(t *testing.T, n int, of *exec.Cmd) {
	t.Helper()
	p := b.locate(t, of.Process.Pid)
	for range n {
		b.fakes++
		p.PID, p.PPID = 1<<22+b.fakes, 0 // above all
		b.kill(t, p)
	}
	b.env.Judge.Limit.NoteKill()
}

func (b *bed) locate(t *testing.T, pid int) process.Event {
	t.Helper()
	p, err := b.env.Inventory.Locate(pid)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (b *bed) kill(t *testing.T, p process.Event) {
	t.Helper()
	if limited, err := b.env.Judge.Limit.Take(killlimit.Key("a rule"), "a rule", p); err != nil || limited {
		t.Fatalf("limited %v, %v", limited, err)
	}
}

func alive(cmd *exec.Cmd) bool {
	h, err := process.Open(cmd.Process.Pid)
	if err != nil {
		return false
	}
	defer h.Close()
	return true
}

func died(t *testing.T, cmds ...*exec.Cmd) {
	t.Helper()
	for _, cmd := range cmds {
		testutil.Eventually(t, "the end of "+cmd.String(), func() bool { return !alive(cmd) })
	}
}

func lives(t *testing.T, cmds ...*exec.Cmd) {
	t.Helper()
	for _, cmd := range cmds {
		if !alive(cmd) {
			t.Errorf("%s has ended", cmd)
		}
	}
}

func newID() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return fmt.Sprintf("%x", b)
}

// makeContainer makes the cgroup of a container, with a process in it and one in a cgroup below.
func makeContainer(t *testing.T, path string) (first, nested *exec.Cmd) {
	t.Helper()
	dir := testutil.MakeCgroup(t, path)
	first = testutil.SleepIn(t, dir)
	return first, testutil.SleepIn(t, testutil.MakeCgroup(t, path+"/below/cri-containerd-"+newID()+".scope"))
}
