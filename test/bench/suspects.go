package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// suspectMemory measures the memory of the agent while suspects have as many mappings as the kernel
// allows, and how long a miner lives meanwhile.
func suspectMemory(ctx context.Context, b *bench) error {
	if runtime.GOARCH != "amd64" {
		return nil
	}
	const mappings, each = 60_000, 16 << 20 // bytes that the kernel takes for one
	suspect, miner := filepath.Join(b.dir, "directed_jit"), filepath.Join(b.dir, "python3")
	if err := compile(ctx, "test/victims/directed_jit.c", suspect); err != nil {
		return err
	}
	if err := compile(ctx, "test/victims/randomx_miner.c", miner, "-lrandomx"); err != nil {
		return err
	}
	available, err := availableMemory()
	if err != nil {
		return err
	}
	t := newTable("Suspects of 60,000 mappings each: memory of the agent, and the life of a miner beside them",
		"suspects", "agent at most, MiB", "miner, seconds")
	for _, n := range []int{0, 36, 256, 1024} {
		if uint64(n)*each > available*3/4 {
			t.note("%d suspects would take more than three quarters of the memory that is available.", n)
			continue
		}
		peak, life, err := b.mineBesideSuspects(ctx, miner, n, suspect, "library", b.dir, strconv.Itoa(mappings), "4")
		if err != nil {
			return err
		}
		t.add(n, peak>>20, fmt.Sprintf("%.2f", life.Seconds()))
	}
	t.note("The suspects have the lowest priority and sleep for most of the time. Only the agent's own memory counts, which is VmHWM.")
	t.print()
	return nil
}

// mineBesideSuspects returns the maximum memory of an agent until it killed a miner beside n
// suspects, and how long the miner lived.
func (b *bench) mineBesideSuspects(ctx context.Context, miner string, n int, suspect ...string) (peak uint64, life time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	a, err := b.startMonero(ctx)
	if err != nil {
		return 0, 0, err
	}
	suspects, end := context.WithCancel(ctx)
	var started []*exec.Cmd
	defer func() {
		end()
		for _, c := range started {
			_ = c.Wait()
		}
		if stopped := a.stop(); err == nil {
			err = stopped
		}
	}()
	for range n {
		c := exec.CommandContext(suspects, "nice", append([]string{"-n", "19"}, suspect...)...)
		if err := c.Start(); err != nil {
			return 0, 0, err
		}
		started = append(started, c)
	}
	time.Sleep(time.Duration(n) * 50 * time.Millisecond) // until they compute
	if life, err = lifeOf(exec.CommandContext(ctx, miner, "1", "light", "jit")); err != nil {
		return 0, 0, err
	}
	used, err := a.memory()
	return used.VmHWM, life, err
}
