package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
)

// ErrBraked says that a kill was withheld by the brake.
var ErrBraked = errors.New("withheld by the brake")

// Kill kills a process of that cgroup, which is not exempt, unless the brake holds.
// The errors are ErrBraked and those of process.Handle.Kill.
func (g *Guard) Kill(h *process.Handle, cgroup process.Cgroup) error {
	held, err := g.take(cgroup)
	if err != nil {
		return err
	}
	if held {
		return ErrBraked
	}
	return h.Kill()
}

// take counts a kill, and reports whether the brake withholds it.
func (g *Guard) take(c process.Cgroup) (bool, error) {
	level := len(c.Levels) - 1
	if place, ok := g.containers.Parse(c.Path()); ok {
		level = place.Level
	}
	key := [2]uint64{0, uint64(c.Hierarchy)}
	if level >= 0 {
		key[0] = c.Levels[level].ID
	}
	held, err := g.objs.TakeKill.Run(&ebpf.RunOptions{Context: key})
	if err != nil {
		return false, fmt.Errorf("asking the brake: %w", err)
	}
	return held != 0, nil
}

// brakeInterval is the time between two looks at the brake.
const brakeInterval = time.Second

// watchBrake tells of the brake when it begins to withhold kills, and when it ends.
func (g *Guard) watchBrake(ctx context.Context, loop *health.Loop) error {
	tick := time.NewTicker(brakeInterval)
	defer tick.Stop()
	var told brakes
	for {
		loop.Rest()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		loop.Turn()
		now, err := g.brakes()
		if err != nil {
			return err
		}
		if now == told {
			continue
		}
		b := g.now().policy.KillLimit
		attrs := []any{
			"node", now.node == 1, "containers", now.containers, "kills_per_minute", b.PerMinute,
			"container_kills_per_minute", b.PerContainer, "quiet_period", b.Cooldown.String(),
		}
		if now.node > told.node || now.containers > told.containers {
			g.log.Warn("brake engaged", attrs...)
		} else {
			g.log.Info("brake released", attrs...)
		}
		told = now
	}
}

// brakes are how many withhold kills.
type brakes struct{ node, containers int }

// brakes reads the state of the brake from the kernel.
func (g *Guard) brakes() (brakes, error) {
	limits := g.now().policy.KillLimit
	var now brakes
	var b bpfBrake
	if limits.PerMinute > 0 {
		if err := g.objs.NodeBrake.Lookup(uint32(0), &b); err != nil {
			return brakes{}, fmt.Errorf("reading the brake: %w", err)
		}
		if b.engaged(limits.Cooldown) {
			now.node = 1
		}
	}
	if limits.PerContainer > 0 {
		var key bpfCgroupKey
		entries := g.objs.ContainerBrakes.Iterate()
		for entries.Next(&key, &b) {
			if b.engaged(limits.Cooldown) {
				now.containers++
			}
		}
		if err := entries.Err(); err != nil {
			return brakes{}, fmt.Errorf("reading the brakes of containers: %w", err)
		}
	}
	return now, nil
}

// engaged reports whether the next kill would be withheld.
func (b bpfBrake) engaged(quiet time.Duration) bool {
	return b.EngagedNs != 0 && process.Monotonic()-time.Duration(b.LastNs) < quiet
}

// Release makes the brake let go.
func (g *Guard) Release() error {
	if err := g.objs.NodeBrake.Put(uint32(0), bpfBrake{}); err != nil {
		return fmt.Errorf("releasing the brake: %w", err)
	}
	if err := forget(g.objs.ContainerBrakes, func(bpfCgroupKey) bool { return true }); err != nil {
		return fmt.Errorf("releasing the brakes of containers: %w", err)
	}
	return nil
}
