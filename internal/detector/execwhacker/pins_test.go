package execwhacker

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// mustDie executes a program with a banned word.
func mustDie(t *testing.T, word string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/true", word)
	if _ = cmd.Run(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatal("it lives")
	}
	return cmd
}

// An agent that is killed while it pins, or removes pins, leaves a part of them.
func TestAPartOfThePinsOfAnotherVersionIsReplaced(t *testing.T) {
	const word = "execwhackerpinstestword"
	fs := testutil.MountBPF(t)
	dir, err := pin.Open(t.Context(), filepath.Join(fs, "pins"), "v1", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	env := detectortest.Env(t, detectortest.Options{})
	env.Pins = dir
	former, err := Load(env, banning(t, word))
	if err != nil {
		t.Fatal(err)
	}
	build := detectortest.RenameBuild(t, filepath.Join(fs, "pins", Name), func(*pin.State) {})
	if err := errors.Join(os.Remove(filepath.Join(build, "counters")), former.Close()); err != nil {
		t.Fatal(err)
	}
	detectortest.Run(t, loadIn(t, env, banning(t, word)))
	testutil.Eventually(t, "the removal of the former version", func() bool {
		_, err := os.Stat(build)
		return os.IsNotExist(err)
	})
	mustDie(t, word)
}

// An upgrade, the same with events in a format that this version cannot read, and with other
// rules. The former version is this one under another name: it has maps of its own.
func TestAnotherVersionIsReplacedWithoutAGap(t *testing.T) {
	const word = "execwhackerpinstestword"
	for _, c := range []struct {
		name   string
		change func(*pin.State)
		said   string
	}{
		{"the same format", func(*pin.State) {}, `"matched":"` + word},
		{"other rules", func(s *pin.State) { s.Rules = "others" }, `"rule":"rules of the agent before"`},
		{"another format", func(s *pin.State) { s.Events = "another"; s.Version = "v0" }, `"version":"v0"`},
		{"other counters", func(s *pin.State) {
			b, n := verdict.OutcomeBanned, verdict.OutcomeNoMatch
			s.Counters[b], s.Counters[n] = s.Counters[n], s.Counters[b]
		}, `"pid"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := testutil.MountBPF(t)
			dir, err := pin.Open(t.Context(), filepath.Join(fs, "pins"), "v1", 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { dir.Close() })
			var log testutil.Buffer
			env := detectortest.Env(t, detectortest.Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
			env.Pins = dir

			former, err := Load(env, banning(t, word))
			if err != nil {
				t.Fatal(err)
			}
			mustDie(t, word)
			counts, err := former.kernelCounts()
			if err != nil {
				t.Fatal(err)
			}
			build := detectortest.RenameBuild(t, filepath.Join(fs, "pins", Name), c.change)
			if err := former.Close(); err != nil {
				t.Fatal(err)
			}
			alone := mustDie(t, word)

			d := loadIn(t, env, banning(t, word))
			mustDie(t, word)
			want, got := counts.Counters[verdict.OutcomeBanned]+2, uint64(0)
			if c.name == "other counters" {
				want = counts.Counters[verdict.OutcomeNoMatch] + 1 // those of other programs come to it
			}
			now, err := d.kernelCounts()
			if got = now.Counters[verdict.OutcomeBanned]; err != nil || got < want || got > want && c.name != "other counters" {
				t.Errorf("%d kills are counted, %v, want %d", got, err, want)
			}
			detectortest.Run(t, d)
			testutil.Eventually(t, "the line "+c.said, func() bool { return strings.Contains(log.String(), c.said) })
			if c.name != "another format" {
				testutil.Eventually(t, "the line of the kill without an agent", func() bool {
					return lineOf(t, log.String(), alone.Process.Pid) != nil
				})
			}
			if line := lineOf(t, log.String(), alone.Process.Pid); line != nil && (line["action"] != "killed" || line["at"] == nil) {
				t.Errorf("got %v", line)
			}
			if c.name != "the same format" {
				return
			}
			testutil.Eventually(t, "the removal of the former version", func() bool {
				_, err := os.Stat(build)
				return os.IsNotExist(err)
			})
			mustDie(t, word)
			if now, err := d.kernelCounts(); err != nil || now.Counters[verdict.OutcomeBanned] != want+1 {
				t.Errorf("%d kills are counted at the end, %v, want %d", now.Counters[verdict.OutcomeBanned], err, want+1)
			}
		})
	}
}

// lineOf returns the line of the log about a process, nil if there is none.
func lineOf(t *testing.T, log string, pid int) map[string]any {
	t.Helper()
	for line := range strings.Lines(log) {
		var l map[string]any
		if err := json.NewDecoder(bytes.NewReader([]byte(line))).Decode(&l); err != nil {
			t.Fatal(err)
		}
		if l["pid"] == float64(pid) {
			return l
		}
	}
	return nil
}
