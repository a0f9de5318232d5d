package report

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// known is a runtime with one container, which answers when answer is closed.
type known struct {
	container *container.Container
	cached    bool
	answer    chan struct{}
}

func (k known) Cached(cgroup.ContainerRef) (*container.Container, bool) { return k.container, k.cached }

func (k known) Lookup(ctx context.Context, _ cgroup.ContainerRef) (*container.Container, error) {
	select {
	case <-k.answer:
		return k.container, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// in returns the cgroup of a container.
func in(id string) cgroup.Cgroup { return new(cgroup.Parser).At("/default/" + id) }

// logging returns a logger without times.
func logging(to io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(to, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func pod() *container.Container {
	return &container.Container{
		ID: "c1", Name: "notebook", Image: "example.org/hub:1", Pod: "jupyter-a", Namespace: "hub",
		Labels:      map[string]string{"app": "hub\x1b[31m", "io.kubernetes.pod.name": "jupyter-a"},
		Annotations: map[string]string{"hub.jupyter.org/username": "ada@example.com"},
		Nested:      &container.Container{ID: "c2", Image: "built", Labels: map[string]string{"repo": "x"}},
	}
}

func TestALineHasAllKeys(t *testing.T) {
	var out testutil.Buffer
	New(logging(&out), "node1", known{pod(), true, nil}).Report(Verdict{
		Action: Killed, Detector: "execwhacker", Source: "exec", PID: 7, PPID: 6, UID: 1000,
		Program: "/bin/a", Cmdline: "a b", Cgroup: in("c1/x\n"), Matched: "b", Rule: "r.yaml:1 x[0]",
		Env: map[string]string{"A": "1"}, After: 1500 * time.Microsecond, Details: []slog.Attr{slog.Int("threads", 3)},
	})
	const want = `{"level":"INFO","msg":"killed a process","action":"killed","detector":"execwhacker","source":"exec","pid":7,"ppid":6,"uid":1000,` +
		`"program":"/bin/a","cmdline":"a b","cgroup":"/default/c1/x\\x0a","matched":"b","rule":"r.yaml:1 x[0]","after_seconds":0.0015,"env":{"A":"1"},"threads":3,` +
		`"container_id":"c1","container":"notebook","image":"example.org/hub:1","pod":"jupyter-a","namespace":"hub",` +
		`"labels":{"app":"hub\\x1b[31m","io.kubernetes.pod.name":"jupyter-a"},"annotations":{"hub.jupyter.org/username":"ada@example.com"},"nested":{"container_id":"c2","image":"built","labels":{"repo":"x"}},"node":"node1"}` + "\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestALineWaitsForNamesButTheCallerDoesNot(t *testing.T) {
	var out testutil.Buffer
	k := known{pod(), false, make(chan struct{})}
	r := New(logging(&out), "", k)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, nil) }()
	r.Report(Verdict{Action: Killed, PID: 7, Cgroup: in("c")})
	if text := out.String(); text != "" {
		t.Errorf("written before the names were known: %s", text)
	}
	close(k.answer)
	for end := time.Now().Add(10 * time.Second); !strings.Contains(out.String(), `"pod":"jupyter-a"`); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got %q", out.String())
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestNoLineIsLostIfTheRuntimeDoesNotAnswer(t *testing.T) {
	var out testutil.Buffer
	r := New(logging(&out), "", known{nil, false, make(chan struct{})})
	const beyond = 10
	pid := 0
	report := func(n int, container string) {
		for range n {
			pid++
			r.Report(Verdict{Action: Killed, PID: pid, Cgroup: in(container)})
		}
	}
	// The lookup for the first line has started, or the line is still in the queue.
	report(maxWaiting+1+beyond, "one")
	if got := strings.Count(out.String(), "\n"); got != beyond && got != beyond+1 {
		t.Errorf("%d lines of one owner without waiting, want %d", got, beyond)
	}
	for owner := range maxActive {
		report(1, fmt.Sprint("o", owner))
	}
	if got := strings.Count(out.String(), "\n"); got != beyond+1 && got != beyond+2 {
		t.Errorf("%d lines without waiting, want %d", got, beyond+1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx, nil); err != nil {
		t.Error(err)
	}
	for ; pid > 0; pid-- {
		if strings.Count(out.String(), fmt.Sprintf(`"pid":%d,`, pid)) != 1 {
			t.Fatalf("the verdict on process %d is lost", pid)
		}
	}
}

// slow is a runtime that answers only for one container.
type slow struct{}

func (slow) Cached(cgroup.ContainerRef) (*container.Container, bool) { return nil, false }
func (slow) Lookup(ctx context.Context, ref cgroup.ContainerRef) (*container.Container, error) {
	if ref.ID == "known" {
		return pod(), nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAnUnknownContainerDoesNotDelayLinesOfOtherOwners(t *testing.T) {
	var out testutil.Buffer
	r := New(logging(&out), "", slow{})
	for pid := range 2 * maxWaiting {
		r.Report(Verdict{Action: Killed, PID: 1000 + pid, Cgroup: in("unknown")})
	}
	r.Report(Verdict{Action: Killed, PID: 7, Cgroup: in("known")})
	for end := time.Now().Add(lookupTimeout / 2); !strings.Contains(out.String(), `"pod":"jupyter-a"`); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got %q", out.String())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx, nil); err != nil {
		t.Error(err)
	}
}

func TestUnknownValuesAreNotInTheLine(t *testing.T) {
	var out testutil.Buffer
	New(logging(&out), "", nil).Report(Verdict{Action: Observed, Detector: "d", Limited: true})
	const want = `{"level":"INFO","msg":"observed a process","action":"observed","detector":"d","source":"","pid":0,"ppid":0,"uid":0,` +
		`"program":"","cmdline":"","cgroup":"","limited":true,"after_seconds":0}` + "\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestTheLineOfAProgramThatStartedIsNoVerdict(t *testing.T) {
	var verdicts, out testutil.Buffer
	r := New(logging(&verdicts), "node1", known{pod(), true, nil})
	debug := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.LogExecs(debug)
	v := Verdict{Detector: "execwhacker", Source: "exec", PID: 7, PPID: 6, UID: 1000, Program: "/bin/a", Cmdline: "a b", Cgroup: in("c1")}
	r.Exec(v)
	const want = `"level":"DEBUG","msg":"a program started","detector":"execwhacker","source":"exec","pid":7,"ppid":6,"uid":1000,` +
		`"program":"/bin/a","cmdline":"a b","cgroup":"/default/c1","after_seconds":0,"container_id":"c1",`
	if !strings.Contains(out.String(), want) || verdicts.String() != "" {
		t.Errorf("got %s, and among the verdicts %q", out.String(), verdicts.String())
	}
	// It does not wait for names: they are for verdicts.
	r = New(logging(&verdicts), "", known{nil, false, nil})
	r.LogExecs(debug)
	before := len(out.String())
	r.Exec(v)
	if line := out.String()[before:]; !strings.Contains(line, `"pid":7`) || !strings.Contains(line, `"container_id":"c1"`) || strings.Contains(line, `"pod"`) {
		t.Errorf("got %q", line)
	}
}

// Receivers of notifications, which share the cgroups above, tell pods apart by it.
func TestALineHasTheContainersIDWithoutARuntime(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	at := new(cgroup.Parser).At("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0b3c5b1e_1a2b_4c3d_8e9f_0123456789ab.slice/cri-containerd-" + id + ".scope/" +
		strings.Repeat("f", 64)) // below, the container chooses names
	want := fmt.Sprintf(`"container_id":%q`, id)
	var out, other testutil.Buffer
	New(logging(&out), "", nil).Report(Verdict{Action: Killed, Cgroup: at})
	r := New(logging(&out), "", known{nil, false, make(chan struct{})})
	r.LogExecs(logging(&out))
	r.names.most = 0 // too many are waiting
	r.Report(Verdict{Action: Killed, Cgroup: at})
	r.names.most = 1
	r.Report(Verdict{Action: Killed, Cgroup: at}) // the runtime does not answer
	r.Report(Verdict{Action: Killed, Cgroup: at.OfOwner(), suppressed: 3})
	r.writeContainer(Verdict{Cgroup: at}, nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx, nil); err != nil {
		t.Error(err)
	}
	if n := strings.Count(out.String(), want); n != 5 || n != strings.Count(out.String(), "\n") {
		t.Errorf("%d lines have %s: %s", n, want, out.String())
	}
	New(logging(&other), "", nil).Report(Verdict{Action: Killed, Cgroup: new(cgroup.Parser).At("/user.slice/user-1.slice/" + id)})
	if strings.Contains(other.String(), "container_id") {
		t.Errorf("a user has named the cgroup: %s", other.String())
	}
}
