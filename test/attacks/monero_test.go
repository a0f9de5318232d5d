package attacks

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// moneroRows are miners that hide their code or their memory. One agent samples all of them.
func moneroRows(t *testing.T, b *bed) []row {
	randomx := b.victim(t, "randomx_miner", "-lrandomx")
	jit := b.victim(t, "directed_jit", "-static")
	dynamic := b.victim(t, "directed_jit")
	hide := b.victim(t, "preload/hide", "-shared", "-fPIC")
	// A path of some 4,000 bytes, which each mapping of the file repeats in /proc/PID/maps.
	long := longPath(t, b, hide, "file")
	hidden := func(variable, program string, args ...string) *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Env = append(cmd.Environ(), "LD_PRELOAD="+hide, variable)
		return cmd
	}
	disk := b.folder(t)
	tries := []struct {
		id, what string
		cmd      *exec.Cmd
	}{
		{"A57", "2,400 mappings of a file with a long path below RandomX, compiled", hidden("MAPS="+long, randomx, "1", "light", "jit")},
		{"A57b", "the same below RandomX, interpreted", hidden("MAPS="+long, randomx, "1", "light", "interpreter")},
		{"A57c", "the same below a compiled variant of CryptoNight", hidden("MAPS="+long, dynamic, "anonymous")},
		{"A61", "code that pwrite writes to a file on a disk", exec.Command(jit, "written", disk)},
		{"A61b", "code in a file on a disk that is mapped twice", exec.Command(jit, "twice", disk)},
		{"A62", "RandomX, interpreted, its cache split into mappings", hidden("SPLIT=1", randomx, "1", "light", "interpreter")},
		{"A63", "RandomX, compiled, its cache split into mappings", hidden("SPLIT=1", randomx, "1", "light", "jit")},
	}
	a := startMonero(t, nil)
	var c crowd
	for _, try := range tries {
		c.start(t, try.cmd)
	}
	patience := time.Now().Add(time.Duration(times(45, 180)) * time.Second)
	var rows []row
	for i, try := range tries {
		rows = append(rows, row{try.id, try.what, "dead", func(*testing.T) (string, bool) {
			group := c.groups[i]
			dead := group.Dead(max(time.Until(patience), time.Millisecond))
			group.Kill()
			its := func(l agenttest.Line) bool { return l.PID == group.Process.Pid && l.Action != "" }
			agenttest.Within(soon(), func() bool { return len(a.Lines(its)) > 0 }) // the line waits for evidence
			for _, l := range a.Lines(its) {
				// If another agent on this machine was quicker, this one logs a missed kill.
				return fmt.Sprintf("%s by %s after %.1f s", l.Action, l.Rule, l.After), dead && (l.Action == "killed" || l.Action == "missed-kill")
			}
			return fmt.Sprintf("dead: %v, nothing in the log of %s", dead, strings.TrimSpace(filepath.Base(group.Path))), false
		}})
	}
	return rows
}
