package execwhacker

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// A lateRuntime knows the pod of a container only after some queries: not when its cgroup is
// created, and not yet at the exec of its first process. CRI-O reports a container only when it
// is complete.
type lateRuntime struct {
	namespace string
	queries   atomic.Int32
}

func (r *lateRuntime) Lookup(_ context.Context, ref cgroup.ContainerRef) (*container.Container, error) {
	if !ref.Contained() {
		return nil, container.ErrNotContainer
	}
	if r.queries.Add(1) <= 2+1 { // two for the new cgroup, one for the exec
		return nil, container.ErrUnknown
	}
	time.Sleep(5 * time.Millisecond) // as long as a busy runtime takes
	return &container.Container{Namespace: r.namespace}, nil
}

func TestAnUnknownPodIsResolved(t *testing.T) {
	testutil.Privileged(t)
	const word = "execwhackerquestiontestword"
	for name, c := range map[string]struct {
		namespace string
		killed    bool
		line      string
	}{
		"not exempt": {"hub", true, `"action":"killed"`},
		"exempt":     {"kube-system", false, `"allowedby":"namespace kube-system"`},
	} {
		t.Run(name, func(t *testing.T) {
			var out testutil.Buffer
			log := slog.New(slog.NewJSONHandler(&out, nil))
			runtime := &lateRuntime{namespace: c.namespace}
			env := detectortest.Env(t, detectortest.Options{
				Containers: runtime, Log: log, Exemptions: exempt.Rules{Namespaces: []string{"kube-system"}},
			})
			d := loadIn(t, env, banning(t, word))
			detectortest.Run(t, d)

			cmd := exec.Command("/bin/sh", "-c", "read -r line; exec sleep 10", "sh", word)
			stdin := inPod(t, cmd, func() {
				testutil.Eventually(t, "the lookups of a new cgroup", func() bool { return runtime.queries.Load() >= 2 })
			})
			defer stdin.Close()
			testutil.Eventually(t, "the verdict", func() bool { return strings.Contains(out.String(), c.line) })
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			var lookups float64
			for _, result := range []string{resultKnown, resultTimeout} { // a busy machine may take longer
				var m dto.Metric
				if err := d.metrics.containerVerdicts.WithLabelValues(result).Write(&m); err != nil {
					t.Fatal(err)
				}
				lookups += m.GetCounter().GetValue()
			}
			if lookups != 1 {
				t.Errorf("%v lookups were counted", lookups)
			}
			// The kernel suspends the process until the class is stored, or leaves it to user space.
			k, err := d.kernelCounts()
			if err != nil {
				t.Fatal(err)
			}
			n := d.metrics.exec.Counts().Plus(k.Verdicts())
			if (n[verdict.Killed] == 1) != c.killed || n[verdict.Killed]+n[verdict.Exempt] != 1 {
				t.Errorf("%v: %v", n, k.Counters)
			}
		})
	}
}

// inPod creates the cgroup of a pod's container, calls known, and starts a program in the
// cgroup, which ends with its standard input.
func inPod(t *testing.T, cmd *exec.Cmd, known func()) (stdin io.Closer) {
	t.Helper()
	dir := testutil.MakeCgroup(t, "/kubepods/besteffort/pod8f3c1a52-7d16-4f0c-9f3b-0a1b2c3d4e5f/"+strings.Repeat("e", 64))
	known()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	stdin, err = cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return stdin
}

// A changedRuntime knows the pod of a container only after a time, and answers once that it is in
// one namespace, then that it is in another.
type changedRuntime struct {
	known   atomic.Pointer[time.Time] // nil for not yet
	queries atomic.Int32
}

func (r *changedRuntime) Lookup(_ context.Context, ref cgroup.ContainerRef) (*container.Container, error) {
	if !ref.Contained() {
		return nil, container.ErrNotContainer
	}
	if known := r.known.Load(); known == nil || time.Now().Before(*known) {
		return nil, container.ErrUnknown
	}
	if r.queries.Add(1) == 1 {
		return &container.Container{Namespace: "hub"}, nil
	}
	return &container.Container{Namespace: "kube-system"}, nil
}

// The exemption is looked up again before the kill. If it applies then, the forks live as well.
func TestAProcessThatIsExemptAtTheKillMayFork(t *testing.T) {
	const word = "execwhackerchangedtestword"
	var out testutil.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	runtime := new(changedRuntime)
	env := detectortest.Env(t, detectortest.Options{
		Containers: runtime, Log: log, Exemptions: exempt.Rules{Namespaces: []string{"kube-system"}},
	})
	detectortest.Run(t, loadIn(t, env, banning(t, word)))
	file := filepath.Join(t.TempDir(), "file")
	cmd := exec.Command("/bin/sh", "-c", `while [ ! -e "$1" ]; do sleep 0.01; done; echo forked`, word, file)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cmd.Stdout = write
	known := time.Now().Add(testutil.Patience(2 * time.Second))
	runtime.known.Store(&known)
	stdin := inPod(t, cmd, func() {})
	write.Close()
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); stdin.Close() }()
	testutil.Eventually(t, "the verdict", func() bool { return strings.Contains(out.String(), `"allowedby":"namespace kube-system"`) })
	time.Sleep(50 * time.Millisecond)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := read.Read(make([]byte, 16)); err != nil || n == 0 {
		t.Errorf("the exempt process was killed when it forked: %v", err)
	}
}

// A banned process in an unknown container for which there is no place is left to scans: to one now, and to
// others while verdicts end, also on other containers first.
func TestWhatFindsNoPlaceIsLeftToScans(t *testing.T) {
	testutil.Privileged(t)
	env := detectortest.Env(t, detectortest.Options{})
	d := &Detector{Env: env, judge: &judge{Judge: env.Judge}, rescan: make(chan reason, 1)}
	d.metrics = newMetrics(d.kernelCounts, d.execLimit.count)
	p := banning(t, "execwhackernoplacetestword")
	d.policy.Store(&p)
	d.generations.Store(inherited(pin.State{Generation: 1, Rules: "id"}, p, "id"))
	q := &undecided{Pending: verdict.NewPending(d.Judge, nil), detector: d}
	release := make(chan struct{})
	for q.Go("full", func() { <-release }) {
	}
	verdicts := uint64(0)
	decide := func(owner string, scans uint64) {
		t.Helper()
		e := event{Event: verdict.Event{Outcome: verdict.OutcomeUnknownContainer}, ban: 1, generation: 1}
		e.PID, e.Cgroup.Owner = 1<<22, owner // above all
		d.handle(t.Context(), e, q)
		verdicts++
		testutil.Eventually(t, "a verdict", func() bool {
			n := d.metrics.exec.Counts()
			return n[verdict.Exempt]+n[verdict.Missed] == verdicts
		})
		time.Sleep(10 * time.Millisecond) // what follows it
		if n := d.unplaced.Swap(0); n != scans {
			t.Errorf("%d scans after a verdict on %s, not %d", n, owner, scans)
		}
	}
	decide("other", 0)
	decide("full", 1)
	decide("other", 1)
	decide("other", 1)
	close(release)
	q.Wait()
	decide("full", 1)
	decide("full", 0)
	if n := d.metrics.exec.Counts(); n[verdict.Exempt] != 1 {
		t.Error(n)
	}
}
