package attacks

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// undecidedRows are attempts to make the kernel leave the verdict to user space, before which the
// program could change its arguments. All arguments are readable, so the kernel must decide before
// the first instruction.
func undecidedRows(t *testing.T, b *bed) []row {
	word, dense := agenttest.NewWord(), agenttest.NewWord()[:13]+"+tcp://"
	agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{
		Strings:    []string{word, "--" + dense[:13] + "-level"},
		Substrings: []string{dense},
		Allowed:    []string{executors},
	}})
	// A chunk of prefixes of a ban.
	padding := strings.Repeat(dense[:8], 16384/8)

	// dead runs n programs at the same time. None may execute an instruction.
	dead := func(id, what string, n int, cmd func() *exec.Cmd) row {
		return row{id, what, "dead before its first instruction", func(t *testing.T) (string, bool) {
			var c crowd
			for range n {
				c.start(t, cmd())
			}
			return c.die(true)
		}}
	}
	act := func(what string) func() *exec.Cmd {
		return func() *exec.Cmd { return b.act(t, what, padding, word) }
	}
	through := func(name string, before ...string) func() *exec.Cmd {
		return func() *exec.Cmd {
			args := append(before, b.victim(t, "act", "-static"), padding, word)
			return acting(exec.Command(b.victim(t, name), args...), "wipe")
		}
	}
	rows := []row{
		dead("A01,F2", "16 KB of the first 8 bytes of a ban, then the ban; argv overwritten", times(20, 1000), act("wipe")),
		dead("A02", "the same, and forks", times(20, 1000), act("fork")),
		{"A02b", "128 KiB of the first 1 to 16 bytes of each kind of ban, then the ban", "dead before its first instruction", func(t *testing.T) (string, bool) {
			var c crowd
			for _, ban := range []string{word, dense, "--" + dense[:13] + "-level"} {
				for k := 1; k <= 16; k++ {
					for _, space := range []string{"", " "} {
						prefix := ban[:k] + space
						c.start(t, b.act(t, "wipe", strings.Repeat(prefix, 120<<10/len(prefix)), word))
					}
				}
			}
			return c.die(true)
		}},
		{"A02c", "5 MiB of the first 8 bytes of a ban, then the ban; argv overwritten", "dead before its first instruction", func(t *testing.T) (string, bool) {
			var c crowd
			for range times(3, 100) {
				args := append(make([]string, 0, 50), many(49, 0)...)
				for i := range args {
					args[i] = strings.Repeat(dense[:8], 100<<10/8)
				}
				c.start(t, b.act(t, "wipe", append(args, word)...))
			}
			return c.die(true)
		}},
		{"F02", "a legitimate program with that padding", "lives, and no line in the log", func(t *testing.T) (string, bool) {
			return lives(b.act(t, "end", padding))
		}},
		dead("A58a", "with that padding in a time namespace", 1, through("exec_in", "t")),
		dead("A58b", "in a PID namespace", 1, through("exec_in", "p")),
		dead("A58c", "in a user namespace", 1, through("exec_in", "u")),
		dead("A58d", "by a thread, when the first has ended", 1, through("exec_leaderless")),
		dead("A58e", "from anonymous memory", 1, func() *exec.Cmd {
			return acting(exec.Command(b.victim(t, "execveat_memfd"), b.victim(t, "act", "-static"), "act", padding, word), "wipe")
		}),
		dead("A58f", "under a tracer", 1, through("exec_guarded", "trace")),
	}
	for i, pause := range []int{300, 2000, 10_000, 50_000} {
		rows = append(rows, dead("A54"+string(rune('a'+i)), fmt.Sprintf("with that padding, executes itself again every %d µs", pause), 1,
			act(fmt.Sprintf("again %d", pause))))
	}
	return append(rows, chrootRow(b))
}

// chrootRow is an attempt to run a program under the path of an exempt one in another root.
func chrootRow(b *bed) row {
	return row{"A03,F5", "an exempt program's path in another root, without a mount namespace", "dead before its first instruction", func(t *testing.T) (string, bool) {
		word := agenttest.NewWord()
		root := b.folder(t)
		const exempt = "/usr/bin/tail"
		agenttest.CopyFile(t, b.victim(t, "hello", "-static"), filepath.Join(root, exempt))
		agenttest.Start(t, agenttest.Options{
			Rules:    agenttest.Rules{Strings: []string{word}, Allowed: []string{executors}},
			Settings: map[string]any{"exemptions": map[string]any{"programs": []string{exempt}}},
		})
		honest, ok := lives(exec.Command(exempt, "-c", "0", "/dev/null", "--", "/dev/null"))
		if !ok {
			return "the exempt program itself " + honest, false
		}
		cmd := asNobody(exec.Command(b.victim(t, "exec_in"), "ur", exempt, word))
		cmd.Env = append(cmd.Environ(), "ROOT="+root)
		return dies(cmd)
	}}
}
