package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/escalate"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A lacking detector has a policy, which it does not replace while it lacks memory.
type lacking struct {
	stoppable
	interval time.Duration // of the policy in effect
	lacks    func(time.Duration) bool
}

func (l *lacking) Apply(p detector.Policy) error {
	if l.lacks(p.ScanInterval) {
		return errors.New("no memory")
	}
	l.interval = p.ScanInterval
	return nil
}

// runLacking starts detectors whose policies have this interval. compile returns one with another interval.
func runLacking(t *testing.T, log *slog.Logger, interval time.Duration, names []string, all map[string]*lacking) (
	d *detectors, old Policy, compile func(time.Duration) (Policy, error), ctx context.Context, group *errgroup.Group,
) {
	t.Helper()
	env := detectortest.Env(t, detectortest.Options{Log: log})
	env.Health = health.NewMonitor(log)
	escalator, err := escalate.New(escalate.Options{Judge: env.Judge, Inventory: env.Inventory, Containers: detectortest.NoRuntime{}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { escalator.Close() })
	var kinds []detector.Kind
	for _, name := range names {
		kinds = append(kinds, detector.Kind{
			Name: name, Settings: func() detector.Section { return always{} },
			Load: func(detector.Env, detector.Policy) (detector.Detector, error) { return all[name], nil },
		})
	}
	compile = func(interval time.Duration) (Policy, error) {
		c := config.Default(kinds)
		c.ScanInterval = interval
		c.BuiltinRules.SwitchAll(false)
		return Compile(c)
	}
	old, err = compile(interval)
	if err != nil {
		t.Fatal(err)
	}
	d = newDetectors(kinds, &shared{Env: env, escalator: escalator})
	group, ctx = errgroup.WithContext(t.Context())
	if err := d.apply(ctx, group, &old); err != nil {
		t.Fatal(err)
	}
	return d, old, compile, ctx, group
}

// The second of three detectors lacks memory when a failed reload is undone.
func TestAFailedReloadIsUndoneInAllDetectors(t *testing.T) {
	testutil.Privileged(t)
	const before, after = time.Hour, time.Minute
	var out testutil.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	lacks := map[string]func(time.Duration) bool{
		"first":  func(time.Duration) bool { return false },
		"second": func(i time.Duration) bool { return i == before },
		"third":  func(time.Duration) bool { return false },
		"fourth": func(i time.Duration) bool { return i == after },
	}
	names := []string{"first", "second", "third", "fourth"}
	all := make(map[string]*lacking)
	for _, name := range names {
		all[name] = &lacking{newStoppable(name), before, lacks[name]}
	}
	d, old, compiled, ctx, group := runLacking(t, log, before, names, all)
	r := newReloader(&Agent{Policy: old, Log: log, Read: func() (Policy, error) { return compiled(after) }}, d)
	if _, ok := r.reload(ctx, group, false); ok {
		t.Error("it was reloaded")
	}
	got := fmt.Sprint(all["first"].interval, all["second"].interval, all["third"].interval, all["fourth"].interval)
	if want := fmt.Sprint(before, after, before, before); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, name := range []string{"second", "fourth"} {
		if !strings.Contains(r.refused.Error(), "applying the policy to "+name+": no memory") {
			t.Errorf("the error is %v", r.refused)
		}
	}
	if err := errors.Join(d.close(), group.Wait()); err != nil {
		t.Error(err)
	}
}
