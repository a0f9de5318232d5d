package execwhacker

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/evidence"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A shell ends with the only program that it runs, before user space can look at it.
func TestTheAncestorsOfAKilledProcessAreLoggedThoughTheyHaveEnded(t *testing.T) {
	const word = "execwhackerlineagetestword"
	testutil.Privileged(t)
	var log testutil.Buffer
	env := detectortest.Env(t, detectortest.Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
	env.Judge.Evidence = evidence.New(env.Judge.Reader, env.Inventory, evidence.Settings{Ancestors: true})
	d := loadIn(t, env, banning(t, word))
	inner := `echo $$; $0 -c 'true $0' "$WORD"; exit 0` // the inner one is killed
	cmd := exec.Command("sh", "-c", `echo $$; sh -c "$INNER" sh; exit 0`)
	cmd.Env = append(os.Environ(), "WORD="+word, "INNER="+inner)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var outer, middle int
	if _, err := fmt.Sscan(string(out), &outer, &middle); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	detectortest.Run(t, d)
	var line struct {
		PPID      int
		Ancestors []struct {
			PID     int
			Program string
			Ended   bool
		}
	}
	testutil.Eventually(t, "the line of the kill", func() bool {
		for text := range strings.Lines(log.String()) {
			if strings.Contains(text, `"action":"killed"`) {
				return json.Unmarshal([]byte(text), &line) == nil
			}
		}
		return false
	})
	all := line.Ancestors
	if line.PPID != middle || len(all) < 3 || all[0].PID != middle || all[1].PID != outer || all[2].PID != os.Getpid() {
		t.Fatalf("%d in %d in %d: %+v", middle, outer, os.Getpid(), line)
	}
	for i, a := range all[:3] {
		if own := i == 2; a.Ended == own || a.Program == "" || strings.Contains(a.Program, "/") != own {
			t.Errorf("ancestor %d: %+v", i, a)
		}
	}
}
