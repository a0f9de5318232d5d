package procread

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A caller whose time is over may go on to ask for one process or file after the other.
func TestAReadWhoseContextHasEndedHarmsNoChild(t *testing.T) {
	r := newReader(t)
	h := handle(t, testutil.Sleeper(t).Process.Pid)
	m := executable(t, r, h, "")
	all := func() []int {
		r.pool.mu.Lock()
		defer r.pool.mu.Unlock()
		var pids []int
		for _, c := range append(slices.Clone(r.pool.idle), r.pool.busy...) {
			pids = append(pids, c.pid)
		}
		return pids
	}
	before := all()
	over, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	for name, read := range map[string]func() error{
		"Read": func() error {
			_, err := r.Read(over, h, "")
			return err
		},
		"Environ": func() error {
			_, err := r.Environ(over, h, "", []string{"HOME"})
			return err
		},
		"ReadMany": func() error {
			return r.ReadMany(over, "", []Want{{PID: h.PID()}}, func(int, Brief) {})
		},
		"Mappings": func() error {
			return r.Mappings(over, h, "", func(Mapping) error { return nil })
		},
		"MappedFile": func() error {
			_, err := r.MappedFile(over, h, "", m, nil, nil)
			return err
		},
		"Memory": func() error {
			return r.Memory(over, h, "", []Range{{m.Start, m.End}}, func(uint64, []byte) error { return nil })
		},
	} {
		for range 20 { // a select may take either way
			if err := read(); !errors.Is(err, ErrStuck) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if s := r.Stats(); s.TimedOut != 0 || s.LeftBehind != 0 || len(before) == 0 || !slices.Equal(all(), before) {
		t.Errorf("%+v, children %v, not %v", s, all(), before)
	}
	if _, err := r.Read(t.Context(), h, ""); err != nil {
		t.Error(err)
	}
}

// The context ends while a read waits for a child.
func TestAChildThatComesTooLateIsKept(t *testing.T) {
	r := newReader(t)
	h := handle(t, testutil.Sleeper(t).Process.Pid)
	if _, err := r.Read(t.Context(), h, ""); err != nil {
		t.Fatal(err)
	}
	pid := childOf(r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.pool.childFor(ctx, t.Context()); !errors.Is(err, ErrStuck) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c, err := r.pool.get(t.Context())
	if err != nil || c.pid != pid {
		t.Fatalf("child %d, not %d, %v", c.pid, pid, err)
	}
	if err := unix.Kill(c.pid, 0); err != nil || !c.usable() {
		t.Error(err)
	}
	// It is asked nothing then.
	_, err = c.do(ctx, request{kind: requestBriefs}, time.Second, func([]byte) error { return nil })
	if errors.Is(err, errTimeout) || !errors.Is(err, ErrStuck) || !c.usable() {
		t.Errorf("it counts as a timeout, or the child is lost: %v", err)
	}
	r.pool.put(c, nil)
}
