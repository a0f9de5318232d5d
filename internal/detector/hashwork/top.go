package hashwork

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/process"
)

const (
	// maxRows bounds the processes that are shown. Half of them are the first ones of their
	// cgroups, so that a cgroup with many processes does not hide others.
	maxRows = 50

	minTopInterval, maxTopInterval = time.Second, time.Hour
)

// topOptions are the flags of the view.
type topOptions struct {
	interval time.Duration
	count    int // number of frames, 0 for no limit
	json     bool
}

// topView is the subcommand top.
func topView() detector.View {
	return detector.View{
		Name:  "top",
		Short: "Show the containers and processes that compute",
		Long: `Show the containers and processes that compute, what they execute, what they move, and
how far the rules program and scratchpad of hashwork are from their thresholds. It kills
nothing, and needs no running agent. docs/cli.md describes the columns and the keys.`,
		New: func(f *flag.FlagSet) func(context.Context, detector.Screen, detector.Policy) error {
			o := topOptions{interval: 5 * time.Second}
			f.Func("interval", "`DURATION` between two tables (default 5s)", func(text string) (err error) {
				o.interval, err = time.ParseDuration(text)
				if err == nil && (o.interval < minTopInterval || o.interval > maxTopInterval) {
					err = fmt.Errorf("not from %v to %v", minTopInterval, maxTopInterval)
				}
				return err
			})
			f.Func("count", "end after `NUMBER` tables", func(text string) (err error) {
				o.count, err = strconv.Atoi(text)
				if err == nil && o.count < 1 {
					err = errors.New("not a positive number")
				}
				return err
			})
			f.BoolVar(&o.json, "json", false, "print a JSON object for each interval")
			return func(ctx context.Context, s detector.Screen, p detector.Policy) error { return runTop(ctx, s, p, o) }
		},
	}
}

// runTop shows what computes until ctx ends, or a number of times.
func runTop(ctx context.Context, s detector.Screen, p detector.Policy, o topOptions) (err error) {
	t, err := newTop(s, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.d.close()) }()
	shown := make(chan frame)
	ctx, cancel := context.WithCancel(ctx)
	defer func() { // the goroutine that looks ends
		cancel()
		if t.looking {
			<-shown
		}
	}()
	drain, refresh, next := time.NewTicker(drainInterval), time.NewTicker(refreshInterval), time.NewTicker(o.interval)
	defer drain.Stop()
	defer refresh.Stop()
	defer next.Stop()
	for frames := 0; o.count == 0 || frames < o.count; {
		select {
		case <-ctx.Done():
			return nil
		case <-drain.C:
			err = t.drain()
		case <-refresh.C:
			t.all.sweep(process.Monotonic())
			err = t.d.clock.refresh()
		case <-next.C:
			if err = t.drain(); err != nil || t.looking {
				break
			}
			t.looking = true
			c, limit := t.cut(), o.interval*9/10
			go func() { shown <- t.fill(ctx, c, limit) }()
		case f := <-shown:
			t.looking = false
			frames++
			err = show(s.Out, f, o.json)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// show writes a frame.
func show(out io.Writer, f frame, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		return e.Encode(f)
	}
	width, height := 0, 0
	if file, ok := out.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err == nil {
			if _, err := io.WriteString(out, "\x1b[H\x1b[2J"); err != nil { // clears the terminal
				return err
			}
			width, height = int(size.Col), int(size.Row)-1
		}
	}
	_, err := io.WriteString(out, f.table(width, height))
	return err
}

// A top samples what computes. The goroutine of runTop has all fields but known, seen and places,
// which fill has while it runs.
type top struct {
	detector.Screen
	d        sampler
	policy   *policy
	examiner examiner
	all      *tracker
	cutAt    time.Duration // monotonic
	lost     uint64
	programs map[process.Execution]int // number of samples at the last cut
	cgroups  map[uint64]int            // likewise
	looking  bool

	seen   map[process.Execution]*row
	places map[uint64]located // by the id of the cgroup
}

func newTop(s detector.Screen, p detector.Policy) (*top, error) {
	its, err := policyOf(p)
	if err != nil {
		return nil, err
	}
	t := &top{
		Screen: s, policy: its, examiner: examiner{reader: s.Judge.Reader},
		all:      newTracker(math.MaxInt), // nothing is ever due
		programs: make(map[process.Execution]int), cgroups: make(map[uint64]int),
	}
	if err = t.d.open(); err == nil {
		err = t.d.clock.set(its.settings.SampleRate)
	}
	if err != nil {
		return nil, errors.Join(err, t.d.close())
	}
	t.cutAt = process.Monotonic()
	return t, nil
}

func (t *top) drain() error { return t.d.take(nil, func(x sample) { t.all.add(x) }) }

// A cut is what was sampled in an interval.
type cut struct {
	at      time.Time
	took    time.Duration
	lost    uint64
	jobs    []job                     // of at most maxRows programs
	samples map[process.Execution]int // of these
	cgroups map[uint64]int            // samples, of all
	others  int                       // programs that are not among jobs
}

// cut ends an interval.
func (t *top) cut() cut {
	now := process.Monotonic()
	c := cut{at: time.Now(), took: now - t.cutAt, samples: make(map[process.Execution]int), cgroups: make(map[uint64]int)}
	t.cutAt = now
	if _, lost, err := t.d.kernelCounts(); err == nil {
		c.lost, t.lost = lost-t.lost, lost
	}
	counted := func(n, before int) int {
		if n < before { // it was forgotten meanwhile
			before = 0
		}
		return n - before
	}
	var computed []*program
	programs, cgroups := make(map[process.Execution]int), make(map[uint64]int)
	for k, p := range t.all.programs.All() {
		programs[k] = p.samples
		if n := counted(p.samples, t.programs[k]); n > 0 {
			c.samples[k] = n
			computed = append(computed, p)
		}
	}
	for id, g := range t.all.cgroups.All() {
		cgroups[id] = g.samples
		if n := counted(g.samples, t.cgroups[id]); n > 0 {
			c.cgroups[id] = n
		}
	}
	t.programs, t.cgroups = programs, cgroups
	chosen := choose(computed, c)
	c.others = len(computed) - len(chosen)
	for _, p := range chosen {
		g := t.all.groupOf(p)
		j := t.all.job(p, g, false)
		j.policy = t.policy
		c.jobs = append(c.jobs, j)
	}
	return c
}

// choose returns the programs that are shown.
func choose(all []*program, c cut) []*program {
	slices.SortFunc(all, func(a, b *program) int {
		return cmp.Or(cmp.Compare(c.samples[b.key], c.samples[a.key]), cmp.Compare(a.key.PID, b.key.PID))
	})
	var first, rest []*program
	have := make(map[uint64]bool)
	for _, p := range all {
		if have[p.owner.Cgroup] {
			rest = append(rest, p)
			continue
		}
		have[p.owner.Cgroup] = true
		first = append(first, p)
	}
	slices.SortStableFunc(first, func(a, b *program) int {
		return cmp.Compare(c.cgroups[b.owner.Cgroup], c.cgroups[a.owner.Cgroup])
	})
	if len(first) > maxRows/2 {
		rest = append(rest, first[maxRows/2:]...)
		first = first[:maxRows/2]
		slices.SortStableFunc(rest, func(a, b *program) int { return cmp.Compare(c.samples[b.key], c.samples[a.key]) })
	}
	return append(first, rest[:min(len(rest), maxRows-len(first))]...)
}
