package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
)

// The numbers of programs that each contender meets.
const (
	compareStarts = 5
	longMiners    = 100    // one after the other, each for a second unless it is killed
	shortMiners   = 200    // one after the other, each for two milliseconds
	stormMiners   = 10_000 // as many at a time as there are CPUs, each ends at once
	honestExecs   = 1000   // for the time of the programs in the kernel
)

// compareAgents measures this agent and others in one run: how long banned programs live, what they
// compute before they die, what each exec pays, and what a storm of execs loses.
func compareAgents(ctx context.Context, b *bench) error {
	counts := filepath.Join(b.dir, "counts")
	if err := compile(ctx, "test/bench/counts/counts.c", counts, "-static"); err != nil {
		return err
	}
	t := newTable("Side by side", "")
	for _, name := range []string{
		"from start to protection, s",
		"from exec to death, ms, median", "99 %", "hashes before it, median", "99 %",
		"CPUs busy: from exec to death, ms, median", "99 %", "hashes before it, median", "99 %",
		fmt.Sprintf("%d miners of 2 ms: killed", shortMiners),
		fmt.Sprintf("storm of %d: killed", stormMiners), "storm: seen",
		"all its programs in the kernel, ns an exec", "memory, MB", "memory of its maps, MB",
	} {
		t.add(name)
	}
	for _, c := range contenders() {
		result, err := c.measure(ctx, b, counts)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		t.rows[0] = append(t.rows[0], c.name)
		for i, value := range result {
			t.rows[i+1] = append(t.rows[i+1], value)
		}
	}
	t.note("The older rule is the one of the Python program by its documents, in Go and without its lookup of containers. It runs in the benchmark, whose memory is not counted.")
	t.print()
	return nil
}

// measure returns a column of the table.
func (c contender) measure(ctx context.Context, b *bench, counts string) (column []string, err error) {
	word := fmt.Sprintf("compared%x", rand.Uint64())
	var r *rival
	var times []float64
	for i := range compareStarts {
		var took time.Duration
		if r, took, err = c.protect(ctx, b, counts, word); err != nil {
			return nil, err
		}
		times = append(times, took.Seconds())
		if i < compareStarts-1 {
			if err := r.stop(); err != nil {
				return nil, err
			}
		}
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	time.Sleep(2 * time.Second) // until the work after the start is done
	user, kernel, err := r.memory()
	if err != nil {
		return nil, err
	}
	column = []string{fmt.Sprintf("%.2f", quantile(times, 0.5))}
	for _, busy := range []int{0, 2 * runtime.NumCPU()} {
		cells, err := c.deaths(ctx, counts, word, busy)
		if err != nil {
			return nil, err
		}
		column = append(column, cells...)
	}
	cells, err := r.losses(ctx, counts, word)
	if err != nil {
		return nil, err
	}
	each, err := r.perExec(ctx, b, honestExecs)
	return append(append(column, cells...), ns(each), megabytes(user), megabytes(kernel)), err
}

// deaths returns when miners die, and what they compute until then, next to others that compute.
func (c contender) deaths(ctx context.Context, counts, word string, others int) ([]string, error) {
	if !c.kills {
		return []string{"never", "never", "all", "all"}, nil
	}
	for range others {
		loop := exec.CommandContext(ctx, "/bin/sh", "-c", "while :; do :; done")
		if err := loop.Start(); err != nil {
			return nil, err
		}
		defer func() { _ = loop.Process.Kill(); _ = loop.Wait() }()
	}
	l, err := mineAgain(ctx, counts, 1, longMiners, time.Second, word)
	if err != nil {
		return nil, err
	}
	ms := func(q float64) string { return fmt.Sprintf("%.2f", quantile(l.ms, q)) }
	return []string{ms(0.5), ms(0.99), ns(quantile(l.hashes, 0.5)), ns(quantile(l.hashes, 0.99))}, nil
}

// losses returns how many of short miners are killed, and how many of a storm are killed and seen.
func (r *rival) losses(ctx context.Context, counts, word string) ([]string, error) {
	short, err := mineAgain(ctx, counts, 1, shortMiners, 2*time.Millisecond, word)
	if err != nil {
		return nil, err
	}
	before, err := r.settled()
	if err != nil {
		return nil, err
	}
	storm, err := mineAgain(ctx, counts, runtime.NumCPU(), stormMiners/runtime.NumCPU(), 0, word)
	if err != nil {
		return nil, err
	}
	after, err := r.settled()
	return []string{fmt.Sprint(short.killed), fmt.Sprint(storm.killed), fmt.Sprint(after - before)}, err
}

// protect starts a contender, and returns how long it takes until it sees a banned program.
func (c contender) protect(ctx context.Context, b *bench, counts, word string) (*rival, time.Duration, error) {
	begin := time.Now()
	r, err := c.start(ctx, b, word)
	if err != nil {
		return nil, 0, err
	}
	for time.Since(begin) < patience {
		ran, err := mineAgain(ctx, counts, 1, 1, 5*time.Millisecond, word)
		if err != nil {
			return nil, 0, errors.Join(err, r.stop())
		}
		took := time.Since(begin)
		seen, err := r.reported()
		if err != nil {
			return nil, 0, errors.Join(err, r.stop())
		}
		if ran.killed > 0 || !c.kills && seen > 0 {
			return r, took, nil
		}
	}
	return nil, 0, errors.Join(fmt.Errorf("no protection within %v", patience), r.stop())
}

// lives are those of programs that were executed with a banned word.
type lives struct {
	ms, hashes []float64 // from the exec to the end, and until then
	killed     int
}

// mineAgain executes programs that compute for some time, count of them in each of several workers.
func mineAgain(ctx context.Context, counts string, workers, count int, limit time.Duration, word string) (l lives, err error) {
	cmd := exec.CommandContext(ctx, counts, strconv.Itoa(workers), strconv.Itoa(count), strconv.FormatInt(limit.Microseconds(), 10))
	cmd.Env = []string{"WORD=" + word}
	out, err := cmd.Output()
	if err != nil {
		return l, fmt.Errorf("running %s: %w", counts, err)
	}
	for line := range strings.Lines(string(out)) {
		var ns, hashes, killed int
		if _, err := fmt.Sscan(line, &ns, &hashes, &killed); err != nil {
			return l, fmt.Errorf("%q: %w", line, err)
		}
		l.ms, l.hashes, l.killed = append(l.ms, float64(ns)/1e6), append(l.hashes, float64(hashes)), l.killed+killed
	}
	if len(l.ms) != workers*count {
		return l, fmt.Errorf("%d of %d programs ran", len(l.ms), workers*count)
	}
	return l, nil
}

// perExec returns the nanoseconds that all programs of the rival take in the kernel while legitimate
// programs are executed, for each of these.
func (r *rival) perExec(ctx context.Context, b *bench, execs int) (each float64, err error) {
	ids := fdinfo(r.pid, "prog_id")
	if len(ids) == 0 {
		return 0, errors.New("it has no BPF programs")
	}
	total := func() (sum time.Duration, err error) {
		for id := range ids {
			p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
			if err != nil {
				return 0, err
			}
			stats, err := p.Stats()
			if err = errors.Join(err, p.Close()); err != nil {
				return 0, err
			}
			sum += stats.Runtime
		}
		return sum, nil
	}
	err = measured(func() error {
		before, err1 := total()
		_, err2 := b.execs(ctx, execs, realistic(rand.New(rand.NewPCG(3, 4)), 100))
		after, err3 := total()
		each = float64(after-before) / float64(execs)
		return errors.Join(err1, err2, err3)
	})
	return each, err
}
