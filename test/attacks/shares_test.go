package attacks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// shareRows are attempts to exhaust the agent's memory or time, so that others are not protected.
func shareRows(_ *testing.T, b *bed) []row {
	return []row{
		{"C06", "processes that declare 64 GiB of arguments", "a scan reaches the others, memory is bounded", func(t *testing.T) (string, bool) {
			return declared(t, b, times(300, 1000), 64<<10)
		}},
		{"C06b", "processes that declare 8 MiB of arguments", "a scan reaches the others, memory is bounded", func(t *testing.T) (string, bool) {
			return declared(t, b, 100, 8)
		}},
		{"C07", "allowed processes", "the CPU time of a scan is proportional to their number", func(t *testing.T) (string, bool) {
			return linear(t, b)
		}},
		{"C09,F10", "64 allow patterns that are too large for the kernel, and 5 MiB of arguments", "refused by file and line, or others are judged meanwhile", func(t *testing.T) (string, bool) {
			return largePatterns(t, b)
		}},
		{"F3", "one such pattern; a program that it does not match overwrites its arguments", "refused by file and line, or logged and dead before its first instruction", func(t *testing.T) (string, bool) {
			return largePattern(t, b)
		}},
		{"C13", "suspects with 60,000 mappings each, and a miner beside them", "memory is bounded, the miner is dead", func(t *testing.T) (string, bool) {
			return mapped(t, b, times(12, manySuspects()), false)
		}},
		{"C14", "the same, with the chart's 512 MiB of memory", "the agent lives, the miner is dead", func(t *testing.T) (string, bool) {
			return mapped(t, b, times(42, manySuspects()), true)
		}},
		{"C15", "cgroups that are created as fast as possible", "no event is lost, little CPU time", func(t *testing.T) (string, bool) {
			return manyCgroups(t, times(1400, 14_000))
		}},
		{"C16", "an agent with a twentieth of a CPU, while text that is costly to judge is executed", "dead before its first instruction", func(t *testing.T) (string, bool) {
			return throttled(t, b)
		}},
		{"t10,F6", "two loops of 5 MiB of arguments, allow patterns, and a real-time thread", "delayed by no more than the documented time", func(t *testing.T) (string, bool) {
			return latency(t, b)
		}},
		{"C17", "storms of banned programs", "neither memory nor descriptors grow", func(t *testing.T) (string, bool) {
			return noGrowth(t, b)
		}},
		// The last row, because init may need some time to reap them.
		{"C07b", "processes that are older than the agent", "a scan reaches the last of them, memory is bounded", func(t *testing.T) (string, bool) {
			return older(t, b, times(1000, 20_000))
		}},
	}
}

func declared(t *testing.T, b *bed, n, mib int) (seen string, ok bool) {
	t.Helper()
	var hostile, c crowd
	for range n {
		hostile.start(t, asNobody(exec.Command(b.victim(t, "huge_cmdline"), fmt.Sprint(mib))))
	}
	time.Sleep(500 * time.Millisecond)
	word := agenttest.NewWord()
	c.start(t, b.act(t, "stay", word)) // after them in a scan
	return scanned(t, &c, agenttest.Rules{Strings: []string{word}}, n)
}

// scanned starts an agent that must find the only program of a crowd beside n others. It may use 5
// KiB of memory for each of these.
func scanned(t *testing.T, c *crowd, rules agenttest.Rules, n int) (seen string, ok bool) {
	t.Helper()
	a := scanning(t, rules)
	peak := watchMemory(t, a)
	began := time.Now()
	dead := c.groups[0].Dead(soon())
	took := time.Since(began)
	ended := agenttest.Within(soon(), func() bool { return a.Metrics(t)["scans_total"] > 0 })
	whole := time.Since(began)
	memory := peak()
	return fmt.Sprintf("found after %.1f s beside %d: %v; a scan has ended after %.1f s: %v; %d MiB", took.Seconds(), n, dead, whole.Seconds(), ended, memory),
		dead && ended && memory < memoryMiB+n/200
}

// older starts an agent beside many programs that are allowed.
func older(t *testing.T, b *bed, n int) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	spare(t, b, n, word)
	var c crowd
	c.start(t, b.act(t, "stay", word))
	return scanned(t, &c, agenttest.Rules{Strings: []string{word}, Allowed: []string{`.* ` + word + ` spared`}}, n)
}

// spare starts n programs with the word and "spared" as arguments.
func spare(t *testing.T, b *bed, n int, word string) {
	t.Helper()
	cmd := b.act(t, "stay", word, "spared")
	cmd = exec.Command(b.victim(t, "start_many", "-static"), append([]string{fmt.Sprint(n)}, cmd.Args...)...)
	cmd.Env = append(cmd.Environ(), "ACT=stay", "QUIET=1")
	var c crowd
	c.start(t, cmd)
	if !agenttest.Within(5*agenttest.Patience(), func() bool { return c.output(0) != "" }) {
		t.Fatalf("%d programs are not started", n)
	}
}

// linear compares the CPU time of a scan with a number of allowed processes and with three times as
// many.
func linear(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	rules := agenttest.WriteJSON(t, "rules.json", agenttest.Rules{Strings: []string{word}, Allowed: []string{`.* ` + word + ` spared`}})
	scan := func() time.Duration {
		least := time.Hour
		for range 3 {
			cmd := exec.Command(agenttest.Program(t), "scan", "--builtin-rules=false", "--action", "observe", "--rules", rules)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("scan: %v\n%.500s", err, out)
			}
			least = min(least, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		}
		return least
	}
	few := times(700, 6700)
	none := scan()
	spare(t, b, few, word)
	some := scan() - none
	spare(t, b, 2*few, word)
	all := scan() - none
	ratio := float64(all) / float64(max(some, time.Millisecond))
	return fmt.Sprintf("%v of CPU time for %d, %v for %d: %.1f times as much", some, few, all, 3*few, ratio), ratio < 4.5
}

// refused reports whether the agent started without its rule file, with an error that names the pattern by
// file and line.
func refused(a *agenttest.Agent) bool {
	return len(a.Lines(func(l agenttest.Line) bool {
		return l.Msg == "rule file not in effect" && strings.Contains(l.Err, a.Rules+":1: allowedCommandPatterns[")
	})) > 0
}

// warned reports whether the log names the pattern by file and line.
func warned(a *agenttest.Agent) bool {
	return len(a.Lines(func(l agenttest.Line) bool {
		return l.Action == "" && strings.Contains(l.Raw, a.Rules+":1") && strings.Contains(l.Raw, "allowedCommandPatterns[")
	})) > 0
}

func largePatterns(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	rules := agenttest.Rules{Strings: []string{word}}
	for i := range 64 {
		rules.Allowed = append(rules.Allowed, fmt.Sprintf(`.*%c.{2%d}b%d`, 'a'+i%26, i%10, i))
	}
	a := agenttest.Launch(t, agenttest.Options{Rules: rules})
	if refused(a) {
		return "refused", true
	}
	var c crowd
	c.start(t, b.act(t, "wipe", append(many(49, 100<<10), word)...))
	time.Sleep(100 * time.Millisecond)
	c.start(t, b.act(t, "stay", word))
	fate, dead := c.die(false)
	return fmt.Sprintf("named in the log: %v; %s", warned(a), fate), dead && warned(a)
}

func largePattern(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	a := agenttest.Launch(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}, Allowed: []string{`/opt/tool .*a.{20}b`}}})
	if refused(a) {
		return "refused", true
	}
	var c crowd
	for range 10 {
		c.start(t, b.act(t, "wipe", word))
	}
	fate, dead := c.die(true)
	return fmt.Sprintf("named in the log: %v; %s", warned(a), fate), dead && warned(a)
}

// manySuspects is 1,024, where there are CPUs for so many: they compute, and each takes 16 MB
// of the kernel's memory for its mappings.
func manySuspects() int { return min(1024, 64*runtime.NumCPU()) }

func mapped(t *testing.T, b *bed, n int, limited bool) (seen string, ok bool) {
	t.Helper()
	var suspects, miner crowd
	for range n {
		suspects.start(t, asNobody(exec.Command(b.victim(t, "many_maps", "-static"), "60000")))
	}
	agenttest.Within(soon(), func() bool {
		return suspects.output(n-1) != ""
	})
	options := agenttest.Options{MayFail: true, Settings: map[string]any{"execwhacker": map[string]any{"enabled": false}, "monero": map[string]any{}}}
	if limited {
		options.Wrap = agenttest.Entering(agenttest.MemoryLimit(t, "attacks-limit", 512<<20))
	}
	a := agenttest.Start(t, options)
	peak := 0
	look := func() bool {
		peak = max(peak, a.MemoryMiB())
		return a.Over()
	}
	agenttest.Within(time.Duration(times(5, 60))*time.Second, look)
	miner.start(t, exec.Command(b.victim(t, "directed_jit", "-static"), "anonymous"))
	dead := agenttest.Within(soon(), func() bool {
		return look() || miner.groups[0].Dead(time.Millisecond)
	}) && !a.Over()
	alive := !a.Over()
	return fmt.Sprintf("with %d of them: alive: %v, %d MiB, the miner is dead: %v", n, alive, peak, dead), alive && dead && peak < memoryMiB
}

// manyCgroups creates and removes cgroups.
func manyCgroups(t *testing.T, n int) (seen string, ok bool) {
	t.Helper()
	root := agenttest.MakeCgroup(t, "/attacks-many")
	a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{agenttest.NewWord()}}, Settings: exemptions()})
	before, peak := a.CPU(t), watchMemory(t, a)
	for i := range n {
		dir := fmt.Sprintf("%s/c%d", root, i)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(dir)
	}
	time.Sleep(500 * time.Millisecond)
	used, memory := a.CPU(t)-before, peak()
	lost := 0.0
	for series, value := range a.Metrics(t) {
		if strings.Contains(series, "lost_total") {
			lost += value
		}
	}
	each := used / time.Duration(n)
	return fmt.Sprintf("%v of CPU time for each of %d, %v events lost, %d MiB", each, n, lost, memory),
		lost == 0 && each < time.Millisecond/4 && memory < memoryMiB
}

// noGrowth runs storms of banned programs.
func noGrowth(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}})
	storm := func(n int) {
		cmd := exec.Command(b.victim(t, "storm", "-static"), "2", fmt.Sprint(n), "1")
		cmd.Stdin = strings.NewReader(word)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("storm: %v\n%s", err, out)
		}
		time.Sleep(500 * time.Millisecond)
	}
	storm(2000)
	memory, descriptors, n := a.MemoryMiB(), a.Descriptors(), times(2000, 50_000)
	peak, began := watchMemory(t, a), time.Now()
	for range 3 {
		storm(n)
	}
	rate := float64(3*n) / time.Since(began).Seconds()
	most, after, open := peak(), a.MemoryMiB(), a.Descriptors()
	return fmt.Sprintf("from %d to %d MiB, %d at most, from %d to %d descriptors, %.0f programs a second", memory, after, most, descriptors, open, rate),
		after < memory+15 && most < memoryMiB && open < descriptors+5
}

// throttled runs an agent with a twentieth of a CPU.
func throttled(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word, dense := agenttest.NewWord(), agenttest.NewWord()[:13]+"+tcp://"
	slow := agenttest.CPULimit(t, "attacks-slow", 5)
	a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}, Substrings: []string{dense}}})
	move := func(dir string) {
		if err := os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(a.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
	move(slow)
	defer move(filepath.Dir(slow)) // a stop of the agent that takes more than three seconds is a failure
	var c crowd
	for range 10 {
		c.start(t, b.act(t, "stay", strings.Repeat(dense[:8], 16384/8), word))
	}
	return c.die(true)
}

// documentedLatency is the maximum time for which an exec may hold a CPU, from
// docs/performance.md.
const documentedLatency = 120 * time.Millisecond

// latency executes the longest command lines repeatedly beside a real-time thread.
func latency(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word, dense := agenttest.NewWord(), agenttest.NewWord()[:13]+"+tcp://"
	rules := agenttest.Rules{Strings: []string{word}, Substrings: []string{dense}}
	for i := range 64 {
		rules.Allowed = append(rules.Allowed, fmt.Sprintf("/opt/tool%d .*", i))
	}
	late := func() time.Duration {
		t.Helper()
		out, err := exec.Command(b.victim(t, "latency"), fmt.Sprint(times(2, 60))).Output()
		var microseconds int
		if _, scanned := fmt.Sscan(string(out), &microseconds); err != nil || scanned != nil {
			t.Fatalf("latency: %v, %q", err, out)
		}
		return time.Duration(microseconds) * time.Microsecond
	}
	long := many(50, 0)
	for i := range long {
		long[i] = strings.Repeat(dense[:8], 100<<10/8)
	}
	long = append(long, word)
	stop := make(chan struct{})
	var loops sync.WaitGroup
	defer loops.Wait()
	defer close(stop)
	act := b.victim(t, "act", "-static")
	for range 2 {
		loops.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, _ = finish(acting(exec.Command(act, long...), "end"))
			}
		})
	}
	without := late()
	agenttest.Start(t, agenttest.Options{Rules: rules})
	with := late()
	for range 2 { // repeated, because other programs of a busy machine delay it too
		if with >= without+documentedLatency {
			with = min(with, late())
		}
	}
	return fmt.Sprintf("delayed by %v without an agent, %v with it", without, with), with < without+documentedLatency
}
