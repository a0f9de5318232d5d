package attacks

import (
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// logRows are attempts to flood or forge the log, or to make the counters wrong.
func logRows(_ *testing.T, b *bed) []row {
	return []row{
		{"E01", "control characters in arguments, environment and path", "escaped in the log", func(t *testing.T) (string, bool) {
			return escaped(t, b)
		}},
		{"E01b", "control characters in the status line of a container runtime", "escaped in the log", func(t *testing.T) (string, bool) {
			return statusLine(t, b)
		}},
		{"E02", "data in the metrics, which any pod can read", "no command line", func(t *testing.T) (string, bool) {
			word := agenttest.NewWord()
			a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}})
			fate, dead := dies(exec.Command("/bin/echo", word))
			_, page, err := a.Get("/metrics", agenttest.Patience())
			return fmt.Sprintf("%s, the word in the metrics: %v", fate, strings.Contains(page, word)), dead && err == nil && !strings.Contains(page, word)
		}},
		{"E03", "a cgroup whose name has quotes and control characters", "escaped in the log", func(t *testing.T) (string, bool) {
			word := agenttest.NewWord()
			a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}})
			cmd := agenttest.InCgroup(t, "/attacks-\"\x1b[31m\u202e", exec.Command("/bin/echo", word))
			fate, dead := dies(cmd)
			l := a.Verdict(t, "killed", cmd.Process.Pid)
			return fate + ", " + l.Cgroup, dead && clean(l.Raw)
		}},
		{"F01", "a storm of banned programs", "killed is the number of deaths, checked is the sum of all outcomes, each kill is logged, counted in a summary line, or counted as lost", func(t *testing.T) (string, bool) {
			seen, ok, _ := storms(t, b)
			return seen, ok
		}},
		{"F7", "the same", "no event of it is lost", func(t *testing.T) (string, bool) {
			seen, _, lost := storms(t, b)
			return seen, lost == 0
		}},
		{"S2", "the metrics during a storm", "no counter decreases or is negative", func(t *testing.T) (string, bool) {
			return counters(t, b)
		}},
		{"F01b", "10,000 banned programs with 4,000 control characters, from one container", "some lines and a summary line; the line of another container is logged", func(t *testing.T) (string, bool) {
			return flooded(t, b)
		}},
		{"F02b", "undecided programs that end at once", "checked is the sum of all outcomes", func(t *testing.T) (string, bool) {
			return undecidedSum(t, b)
		}},
	}
}

// clean reports whether a log line has no terminal control characters, neither raw nor after
// decoding its strings.
func clean(line string) bool {
	var texts []string
	decoder := json.NewDecoder(strings.NewReader(line))
	for {
		token, err := decoder.Token()
		if err != nil {
			break
		}
		if text, ok := token.(string); ok {
			texts = append(texts, text)
		}
	}
	return !slices.ContainsFunc(append(texts, line), func(text string) bool {
		return strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) })
	})
}

const hostileText = "\x1b]0;x\a\x1b[31m\u009b31m\u202e\u2066\r\n\x00"

func escaped(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	text := strings.TrimSuffix(hostileText, "\x00")
	a := agenttest.Start(t, agenttest.Options{
		Rules: agenttest.Rules{Strings: []string{word}}, Settings: map[string]any{"logEnv": []string{"BINDER_REF_URL"}},
	})
	program := agenttest.CopyFile(t, b.victim(t, "hello", "-static"), filepath.Join(b.folder(t), "a"+text))
	cmd := exec.Command(program, text, word, `"},{"action":"spared"}`)
	cmd.Env = []string{"BINDER_REF_URL=" + text}
	fate, dead := dies(cmd)
	l := a.Verdict(t, "killed", cmd.Process.Pid)
	return fmt.Sprintf("%s, %.60s", fate, l.Cmdline), dead && clean(l.Raw)
}

// statusLine runs a runtime whose HTTP status line has terminal control characters.
func statusLine(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte("HTTP/1.1 500 \u009b31m\u202e\x1b[31m\r\nContent-Length: 0\r\n\r\n"))
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	word := agenttest.NewWord()
	settings := exemptions()
	settings["containers"] = map[string]any{"sockets": []string{socket}}
	settings["logLevel"] = "debug"
	var c crowd
	c.start(t, agenttest.InCgroup(t, agenttest.PodCgroup("b"), b.act(t, "stay"))) // for a query at the start
	a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}, Settings: settings})
	_, _ = finish(agenttest.InCgroup(t, agenttest.PodCgroup("a"), exec.Command("/bin/echo", word)))
	logged := agenttest.Within(soon(), func() bool {
		messages := make(map[string]bool)
		for _, l := range a.Lines(func(l agenttest.Line) bool { return strings.Contains(l.Raw, "500") && strings.Contains(l.Raw, "31m") }) {
			messages[l.Msg] = true
		}
		return messages["container runtime does not answer"] && messages["cgroup not classified yet"]
	})
	dirty := a.Lines(func(l agenttest.Line) bool { return !clean(l.Raw) })
	return fmt.Sprintf("the answer is in the log: %v; lines with control characters: %d", logged, len(dirty)), logged && len(dirty) == 0
}

// counted returns from the metrics the numbers of kills, of lost events and lines and of suppressed
// lines, and the difference between the checked execs and the sum of all outcomes.
func counted(t *testing.T, a *agenttest.Agent) (killed, lost, suppressed int, difference float64) {
	t.Helper()
	m := a.Metrics(t)
	for series, value := range m {
		switch {
		case strings.HasPrefix(series, "processes_checked_total") && strings.Contains(series, `source="exec"`):
			difference += value
		case strings.HasPrefix(series, "processes_") && strings.Contains(series, `source="exec"`):
			difference -= value
		}
	}
	return int(m[`processes_killed_total{source="exec"}`]), int(m["events_lost_total"] + m["cryptnono_log_lines_lost_total"]),
		int(m["cryptnono_verdict_lines_suppressed_total"]), difference
}

// loggedKills returns how many kills by a ban have a line, and how many the summary lines count.
func loggedKills(a *agenttest.Agent, matched string) (lines, summed int) {
	for _, l := range a.Lines(func(l agenttest.Line) bool { return l.Action == "killed" && l.Matched == matched }) {
		if l.Suppressed == 0 {
			lines++
		}
		summed += l.Suppressed
	}
	return lines, summed
}

func storms(t *testing.T, b *bed) (seen string, ok bool, lost int) {
	t.Helper()
	word := agenttest.NewWord()
	a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}})
	cmd := exec.Command(b.victim(t, "storm", "-static"), "2", fmt.Sprint(times(3000, 40_000)), "1")
	cmd.Stdin = strings.NewReader(word)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("storm: %v\n%s", err, out)
	}
	var dead, alive int
	if _, err := fmt.Sscan(string(out), &dead, &alive); err != nil {
		t.Fatal(err)
	}
	var lines, summed, killed, suppressed int
	var difference float64
	agenttest.Within(soon(), func() bool {
		killed, lost, suppressed, difference = counted(t, a)
		lines, _ = loggedKills(a, word)
		return killed == dead && lines+suppressed+lost == killed && difference == 0
	})
	ends(a) // writes the summary lines
	lines, summed = loggedKills(a, word)
	return fmt.Sprintf("%d died, %d lived, %d counted, %d in the log, %d summed up there, %d lost, checked differs by %v", dead, alive, killed, lines, summed, lost, difference),
		alive == 0 && killed == dead && lines+summed+lost == killed && summed == suppressed && difference == 0, lost
}

func flooded(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word, other := agenttest.NewWord(), agenttest.NewWord()
	a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word, other}}})
	n := times(2000, 10_000)
	cmd := exec.Command(b.victim(t, "storm", "-static"), "2", fmt.Sprint(n), "1")
	cmd.Stdin = strings.NewReader(word + " " + strings.Repeat("\x1b", 50))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("storm: %v\n%s", err, out)
	}
	miner := agenttest.InCgroup(t, "/attacks-other", exec.Command("/bin/echo", other))
	fate, dead := dies(miner)
	logged := agenttest.Within(soon(), func() bool { return len(a.Verdicts("killed", miner.Process.Pid)) == 1 })
	bytes := 0
	for _, l := range a.Lines(func(l agenttest.Line) bool { return l.Matched == word || l.Suppressed > 0 }) {
		bytes += len(l.Raw)
	}
	return fmt.Sprintf("the other %s, its line: %v; %d KiB of log for %d", fate, logged, bytes>>10, n), dead && logged && bytes < 100<<10
}

// undecidedSum starts programs that end before user space can read them, with arguments that older
// versions left to user space.
func undecidedSum(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	dense := agenttest.NewWord()[:13] + "+tcp://"
	a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Substrings: []string{dense}}})
	var cmds []*exec.Cmd
	for range 100 {
		cmds = append(cmds, b.act(t, "end", strings.Repeat(dense[:8], 16384/8)))
	}
	fate, _ := all("live", lives, cmds...)
	var difference float64
	exact := agenttest.Within(soon(), func() bool {
		_, _, _, difference = counted(t, a)
		return difference == 0
	})
	missed := len(a.Lines(func(l agenttest.Line) bool { return l.Action == "missed-kill" }))
	return fmt.Sprintf("%s, checked differs by %v, %d lines of kills that were missed", fate, difference, missed), exact && missed == 0
}

// counters reads the metrics repeatedly during a storm.
func counters(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}})
	cmd := exec.Command(b.victim(t, "storm", "-static"), "2", fmt.Sprint(times(3000, 40_000)), "2")
	cmd.Stdin = strings.NewReader(word)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- cmd.Wait() }()
	last, pages := a.Metrics(t), 1
	for {
		now := a.Metrics(t)
		pages++
		for series, value := range now {
			name, _, _ := strings.Cut(series, "{")
			if strings.HasSuffix(name, "_total") && (value < last[series] || value < 0) {
				seen += fmt.Sprintf(", %s from %v to %v", series, last[series], value)
			}
		}
		last = now
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%d pages%s", pages, seen), seen == ""
		default:
		}
	}
}
