package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// beside calls f while an agent runs.
func (b *bench) beside(ctx context.Context, f func(*agent) error, flags ...string) error {
	a, err := b.start(ctx, flags...)
	if err != nil {
		return err
	}
	time.Sleep(300 * time.Millisecond) // the first scan
	return errors.Join(f(a), a.stop())
}

// A comparison has the times of each round without the agent and with it, and the increase in
// percent.
type comparison struct{ without, with, slower []float64 }

// compare measures alternately without the agent and with it, so that other load on the machine
// affects both.
func (b *bench) compare(ctx context.Context, rounds int, run func() (float64, error), flags ...string) (c comparison, err error) {
	for i := range rounds {
		var took [2]float64 // without, with
		for _, which := range []int{i % 2, 1 - i%2} {
			one := func(*agent) (err error) { took[which], err = run(); return err }
			if which == 0 {
				err = one(nil)
			} else {
				err = b.beside(ctx, one, flags...)
			}
			if err != nil {
				return c, err
			}
		}
		c.without, c.with = append(c.without, took[0]), append(c.with, took[1])
		c.slower = append(c.slower, 100*(took[1]/took[0]-1))
	}
	return c, nil
}

// nanoseconds runs a program that prints a time in nanoseconds.
func nanoseconds(cmd *exec.Cmd) (float64, error) {
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("running %s: %w", cmd.Path, err)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}

// startMonero starts an agent with only the monero detector, and the action kill.
func (b *bench) startMonero(ctx context.Context) (*agent, error) {
	settings := filepath.Join(b.dir, "monero.json")
	if err := os.WriteFile(settings, []byte(`{"execwhacker": {"enabled": false}}`), 0o600); err != nil {
		return nil, err
	}
	return b.start(ctx, "--config", settings, "--action", "kill")
}

// lifeOf runs a miner and returns the time from its first hash to its end.
func lifeOf(miner *exec.Cmd) (time.Duration, error) {
	stdout, err := miner.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := miner.Start(); err != nil {
		return 0, err
	}
	_, err = bufio.NewReader(stdout).ReadString('\n') // the first hash
	began := time.Now()
	_ = miner.Wait() // killed
	return time.Since(began), err
}
