package agent

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/evidence"
	"github.com/cryptnono/cryptnono/internal/notify"
	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// The policy of a reload is in effect though the kill limit could not be reset, and so it is not said to be refused.
func TestAReloadIsNotRefusedIfOnlyTheKillLimitIsNotReset(t *testing.T) {
	var out testutil.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	only := &lacking{newStoppable("only"), time.Hour, func(time.Duration) bool { return false }}
	d, old, compiled, ctx, group := runLacking(t, log, time.Hour, []string{"only"}, map[string]*lacking{"only": only})
	pins, err := pin.Open(t.Context(), filepath.Join(testutil.MountBPF(t), "pins"), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pins.Close()
	env := &d.shared.Env
	env.Pins = pins // not those of an agent on this machine
	env.Judge.Evidence = evidence.New(env.Judge.Reader, env.Inventory, old.Evidence)
	notifier := notify.New("")
	defer notifier.Close(0)
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
