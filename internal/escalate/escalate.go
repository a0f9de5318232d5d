// Package escalate ends more than a process where kills do not help: the parent that starts a banned
// program again and again, and the whole container. The kernel counts the kills (bpf/killlimit.h), so
// that the count does not depend on events.
package escalate

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// Name is that of the detector in log lines and metrics of steps.
const Name = "escalation"

// The steps, which are sources of verdicts. A session is one outside of containers.
const (
	stepParent    = "parent"
	stepContainer = "container"
	stepSession   = "session"
)

const (
	// tick is the time between two checks without an event, and pause the least between two.
	tick, pause = time.Second, 50 * time.Millisecond
	// stepTime bounds a step, and maxSteps those that are taken at the same time, each in another
	// container: the runtime of one may not answer.
	stepTime, maxSteps = 2 * time.Second, 64
	// again is how many of the last 8 killed processes a parent has started that is ended.
	again = 3
)

// An Inventory lists processes. *inventory.Inventory implements it.
type Inventory interface {
	Processes() ([]process.Event, error)
}

// Options are the parameters of New.
type Options struct {
	Settings   Settings
	Judge      *verdict.Judge
	Inventory  Inventory
	Containers exempt.Containers
	Log        *slog.Logger
}

// An Escalator takes steps while Run runs. It is safe for concurrent use.
type Escalator struct {
	Options
	settings atomic.Pointer[Settings]
	cgroups  *os.File // root of cgroup v2, nil if there is none
	steps    map[string]*verdict.Tally

	// Of Run:
	watched map[cgroup.Key]*watched
	running sync.WaitGroup // steps
	busy    int            // how many run
	ended   chan ended     // has room for all of them
}

// ended is the end of a step.
type ended struct {
	of   *watched
	step string
	at   time.Duration // when it began
	done bool          // else it is still due
}

// New returns an escalator. Its steps are rules of the kill limit.
func New(o Options) (*Escalator, error) {
	e := &Escalator{
		Options: o, steps: make(map[string]*verdict.Tally),
		watched: make(map[cgroup.Key]*watched), ended: make(chan ended, maxSteps),
	}
	e.Apply(o.Settings)
	var keys []uint64
	names := []string{stepParent, stepContainer, stepSession}
	for _, step := range names {
		e.steps[step] = new(verdict.Tally)
		keys = append(keys, limitKey(step))
	}
	_, replace, err := o.Judge.Limit.Rules(Name, keys, func(i int) string { return Name + " " + names[i] })
	if err != nil {
		return nil, err
	}
	if err := replace(); err != nil {
		return nil, err
	}
	e.cgroups = openCgroups(o.Log)
	return e, nil
}

func limitKey(step string) uint64 { return killlimit.Key(Name, step) }

// Close closes what New has opened.
func (e *Escalator) Close() error {
	if e.cgroups == nil {
		return nil
	}
	return e.cgroups.Close()
}

// Apply replaces the settings.
func (e *Escalator) Apply(s Settings) { e.settings.Store(&s) }

// Describe implements prometheus.Collector.
func (e *Escalator) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(e, ch) }

// Collect implements prometheus.Collector.
func (e *Escalator) Collect(ch chan<- prometheus.Metric) {
	for step, tally := range e.steps {
		tally.Counts().Collect(ch, Name, step)
	}
	desc := prometheus.NewDesc("cryptnono_escalation_kills_uncounted_total",
		"Kills that do not count for an escalation, because there were kills in too many containers.", nil, nil)
	n, err := e.Judge.Limit.Uncounted()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(desc, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n))
}

// Run takes steps until ctx ends: soon after a kill that makes one due, and at the latest a second
// after it. It returns when all steps have ended.
func (e *Escalator) Run(ctx context.Context, monitor *health.Monitor) error {
	loop := monitor.Loop("escalation", health.DefaultLimit)
	defer loop.End()
	defer e.running.Wait()
	return loop.Retry(ctx, func() error {
		ticks := time.NewTicker(tick)
		defer ticks.Stop()
		for {
			loop.Idle()
			select {
			case <-ctx.Done():
				return nil
			case <-ticks.C:
			case <-e.Judge.Limit.Made():
			case s := <-e.ended:
				e.busy--
				s.of.end(s)
				continue
			}
			loop.Progress()
			if err := e.check(ctx, monitor); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	})
}

// check starts the steps that are due.
func (e *Escalator) check(ctx context.Context, monitor *health.Monitor) error {
	all, err := e.Judge.Limit.Kills()
	if err != nil {
		return err
	}
	s, now := *e.settings.Load(), process.Monotonic()
	list := sync.OnceValues(e.Inventory.Processes)
	seen := make(map[cgroup.Key]bool, len(all))
	for _, k := range all {
		seen[k.Cgroup] = true
		if k.Last == 0 {
			continue // the kernel is about to add it
		}
		w := e.watched[k.Cgroup]
		if now-k.Last > s.Within && (w == nil || !w.busy) {
			delete(e.watched, k.Cgroup)
			if err := e.Judge.Limit.Forget(k.Cgroup); err != nil {
				return err
			}
			continue
		}
		if w == nil {
			w = new(watched)
			e.watched[k.Cgroup] = w
		}
		w.note(k.Made, now, now-s.Within, s.most())
		step, action := w.due(&s)
		if step == "" || w.busy || now < w.next || e.busy == maxSteps {
			continue
		}
		w.busy = true
		e.busy++
		e.running.Go(func() {
			loop := monitor.Loop("step of an escalation", health.DefaultLimit)
			defer loop.End()
			loop.Progress()
			done, err := e.take(ctx, &s, step, action, k, list)
			if err != nil {
				e.Log.Warn("step of an escalation not taken yet", "step", step, "err", err)
			}
			e.ended <- ended{w, step, now, done}
		})
	}
	for key, w := range e.watched {
		if !seen[key] && !w.busy && w.isOld(now-s.Within) {
			delete(e.watched, key)
		}
	}
	return nil
}

// watched has the times of the last kills in a container.
type watched struct {
	made              uint64 // as last read
	times             []time.Duration
	parent, container time.Duration // when the step was last taken
	busy              bool          // a step is taken
	next              time.Duration // before this time, none is tried
}

// end notes the end of a step. If it is still due, another container may have its place first.
func (w *watched) end(s ended) {
	w.busy = false
	if s.done {
		w.taken(s.step, s.at)
	} else {
		w.next = process.Monotonic() + tick
	}
}

// note notes the kills that were made since the last call, at most those after begin, and the last
// most of them.
func (w *watched) note(made uint64, now, begin time.Duration, most int) {
	n := made - w.made
	if made < w.made { // the kernel began again at 0
		n = made
	}
	w.made = made
	for range min(n, uint64(most)) {
		w.times = append(w.times, now)
	}
	from := max(len(w.times)-most, 0)
	for from < len(w.times) && w.times[from] <= begin {
		from++
	}
	w.times = append(w.times[:0], w.times[from:]...)
}

func (w *watched) isOld(begin time.Duration) bool {
	return len(w.times) == 0 || w.times[len(w.times)-1] <= begin
}

// after returns the number of kills after a time.
func (w *watched) after(t time.Duration) (n int) {
	for _, at := range w.times {
		if at > t {
			n++
		}
	}
	return n
}

// due returns the step that is due, the largest first, with its action; "" for none.
func (w *watched) due(s *Settings) (step string, action rules.Action) {
	switch {
	case s.takes(s.Container) && w.after(w.container) >= s.ContainerKills:
		return stepContainer, s.Container
	case s.takes(s.Parent) && w.after(w.parent) >= s.ParentKills:
		return stepParent, s.Parent
	}
	return "", ""
}

// taken notes that a step was taken: it is due again after as many kills.
func (w *watched) taken(step string, now time.Duration) {
	w.parent = now
	if step == stepContainer {
		w.container = now
	}
}
