package agent

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/escalate"
	"github.com/cryptnono/cryptnono/internal/evidence"
	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/notify"
	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// The policy of a reload is in effect though the kill limit could not be reset, and so it is not said to be refused.
func TestAReloadIsNotRefusedIfOnlyTheKillLimitIsNotReset(t *testing.T) {
	var out testutil.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	env := detectortest.Env(t, detectortest.Options{Log: log})
	env.Health = health.NewMonitor(log)
	pins, err := pin.Open(t.Context(), filepath.Join(testutil.MountBPF(t), "pins"), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pins.Close()
	env.Pins = pins // not those of an agent on this machine
	escalator, err := escalate.New(escalate.Options{Judge: env.Judge, Inventory: env.Inventory, Containers: detectortest.NoRuntime{}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer escalator.Close()
	only := &lacking{newStoppable("only"), time.Hour, func(time.Duration) bool { return false }}
	kinds := []detector.Kind{{
		Name: "only", Settings: func() detector.Section { return always{} },
		Load: func(detector.Env, detector.Policy) (detector.Detector, error) { return only, nil },
	}}
	compiled := func(interval time.Duration) (Policy, error) {
		c := config.Default(kinds)
		c.ScanInterval = interval
		c.BuiltinRules.SwitchAll(false)
		return Compile(c)
	}
	old, err := compiled(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	env.Judge.Evidence = evidence.New(env.Judge.Reader, env.Inventory, old.Evidence)
	notifier := notify.New("")
	defer notifier.Close(0)
	d := newDetectors(kinds, &shared{Env: env, escalator: escalator})
	group, ctx := errgroup.WithContext(t.Context())
	if err := d.apply(ctx, group, &old); err != nil {
		t.Fatal(err)
	}
	r := newReloader(&Agent{
		Policy: old, Log: log, Level: new(slog.LevelVar), Notifier: notifier,
		Read: func() (Policy, error) { return compiled(time.Minute) },
	}, d)
	if err := env.Judge.Limit.Maps()["node_kills"].Freeze(); err != nil {
		t.Fatal(err)
	}
	_, ok := r.reload(ctx, group, true)
	if !ok || r.refused != nil || r.agent.Policy.ScanInterval != time.Minute || only.interval != time.Minute {
		t.Errorf("reloaded %v, refused %v, the policy has %s and the detector %s", ok, r.refused, r.agent.Policy.ScanInterval, only.interval)
	}
	for text, want := range map[string]bool{
		"msg=reloaded": true, "reload refused": false, `level=ERROR msg="kill limit not reset" err="resetting the kill limit: `: true,
	} {
		if strings.Contains(out.String(), text) != want {
			t.Errorf("in the log, %s is to be there: %v\n%s", text, want, out.String())
		}
	}
	if err := errors.Join(d.close(), group.Wait()); err != nil {
		t.Error(err)
	}
}
