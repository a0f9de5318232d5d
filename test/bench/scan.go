package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// scanPort is the address of the endpoints of this section's agent.
const scanPort = "127.0.0.1:19394"

// scanCost measures the CPU time of scans of many processes, including that of the agent's children.
// One of the processes is banned, so that the log shows the scan.
func scanCost(ctx context.Context, b *bench) error {
	const processes = 10_000
	const word, later = "cryptnono-bench-sleeping-word", "cryptnono-bench-other-word"
	program, rules := filepath.Join(b.dir, "sleepers"), filepath.Join(b.dir, "scan.json")
	if err := compile(ctx, "test/bench/sleepers/sleepers.c", program, "-static"); err != nil {
		return err
	}
	ban := func(words ...string) error {
		content, err := json.Marshal(map[string]any{"bannedCommandStrings": words})
		if err != nil {
			return err
		}
		return os.WriteFile(rules, content, 0o600)
	}
	t := newTable(fmt.Sprintf("A scan of %d processes: seconds of CPU of the agent and its children, goal 0.3", processes),
		"who", "with them", "without", "the scan")
	row := func(who string, with, without time.Duration) {
		t.add(who, fmt.Sprintf("%.2f", with.Seconds()), fmt.Sprintf("%.2f", without.Seconds()), fmt.Sprintf("%.2f", (with-without).Seconds()))
	}
	once := func(n int, fork bool) (c costs, err error) {
		if err := ban(word); err != nil {
			return c, err
		}
		stop, err := sleepers(program, n, fork, word, later)
		if err != nil {
			return c, err
		}
		defer stop()
		a, err := b.start(ctx, "--builtin-rules=false", "--rules", rules, "--scan-interval", "2s", "--listen", scanPort)
		if err != nil {
			return c, err
		}
		defer func() { err = errors.Join(err, a.stop()) }()
		if _, c.first, err = a.scanned(1); err != nil {
			return
		}
		done, begin, err := a.scanned(2)
		if err != nil {
			return
		}
		more, end, err := a.scanned(done + 3)
		if err != nil {
			return
		}
		c.again = (end - begin) / time.Duration(more-done)
		if err = ban(word, later); err != nil {
			return
		}
		if _, err = a.reloads(); err != nil {
			return
		}
		found, err := a.verdicts(2)
		if err != nil {
			return
		}
		for _, v := range found {
			if v.Source != "scan" || v.Action != "observed" {
				return c, fmt.Errorf("a scan did not find its programs, but %+v", v)
			}
		}
		// The first one may have begun with the old rules.
		_, c.changed, err = a.scanned(more + 2)
		c.changed -= end
		return
	}
	// An agent takes far longer to start than to scan, so the least of some rounds is compared.
	var without, with, forks costs
	for range 3 {
		for _, of := range []struct {
			n    int
			fork bool
			to   *costs
		}{{0, false, &without}, {processes, false, &with}, {processes, true, &forks}} {
			c, err := once(of.n, of.fork)
			if err != nil {
				return err
			}
			of.to.least(c)
		}
	}
	row("judged before", with.again, without.again)
	row("all older than the agent", with.first, without.first)
	row("all judged, then the rules changed", with.changed, without.changed)
	row("all forks of one older program", forks.first, without.first)
	t.note("In whole ticks of 10 ms. Without them: the same beside two processes, the start or the new rules included.")
	t.print()
	return nil
}

// costs are the CPU time of an agent from its start to the end of its first scan, of a scan after a change
// of the rules, and of a scan of processes that were judged before.
type costs struct{ first, changed, again time.Duration }

// least sets each to the one of another round if that is less. 0 is not known yet.
func (c *costs) least(other costs) {
	for _, d := range []struct{ is, other *time.Duration }{{&c.first, &other.first}, {&c.changed, &other.changed}, {&c.again, &other.again}} {
		if *d.is == 0 || *d.other < *d.is {
			*d.is = *d.other
		}
	}
}

// sleepers starts n processes that sleep, as forks or as separate execs, and two with these words as
// arguments. It returns a function that ends them.
func sleepers(program string, n int, fork bool, words ...string) (stop func(), err error) {
	var commands []*exec.Cmd
	var inputs []io.Closer
	stop = func() {
		for _, in := range inputs {
			_ = in.Close()
		}
		for _, c := range commands {
			_ = c.Wait()
		}
	}
	for i, argv := range [][]string{{strconv.Itoa(n)}, {"1", "sleep", words[0]}, {"1", "sleep", words[1]}} {
		if i == 0 && !fork {
			argv = append(argv, "sleep", strings.Repeat("honest ", 12))
		}
		c := exec.Command(program)
		c.Args = append([]string{"sleepers"}, argv...)
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		in, err1 := c.StdinPipe()
		out, err2 := c.StdoutPipe()
		if err := errors.Join(err1, err2, c.Start()); err != nil {
			stop()
			return nil, err
		}
		commands, inputs = append(commands, c), append(inputs, in)
		var ready [6]byte
		if _, err := io.ReadFull(out, ready[:]); err != nil {
			stop()
			return nil, fmt.Errorf("starting %d processes: %w", n, err)
		}
	}
	return stop, nil
}

// scanned waits until the agent has made n scans, and returns their number and the CPU time of the
// agent and its children.
func (a *agent) scanned(n uint64) (uint64, time.Duration, error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		now, err := scans()
		if err != nil {
			return 0, 0, err
		}
		if now >= n {
			took, err := a.familyCPU()
			return now, took, err
		}
	}
	return 0, 0, fmt.Errorf("the agent did not make %d scans within %v", n, patience)
}

// scans returns the number of scans of the agent.
func scans() (uint64, error) {
	answer, err := http.Get("http://" + scanPort + "/metrics")
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasSuffix(name, "_scans_total") {
			return strconv.ParseUint(value, 10, 64)
		}
	}
	return 0, errors.New("the agent does not say how many scans it has made")
}
