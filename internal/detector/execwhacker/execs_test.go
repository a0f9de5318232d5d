package execwhacker

import (
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestTheLinesOfExecsAreLimited(t *testing.T) {
	var l execLimit
	admitted := func(owner string, n int) (lines int) {
		for range n {
			if l.admit(owner) {
				lines++
			}
		}
		return lines
	}
	if n := admitted("loud", 10_000); n != maxOwnerExecs {
		t.Errorf("%d lines of one owner", n)
	}
	if n := admitted("quiet", 10); n != 10 {
		t.Errorf("%d lines of another", n)
	}
	all := maxOwnerExecs + 10
	for i := range 40 {
		all += admitted(fmt.Sprint(i), maxOwnerExecs)
	}
	if all != maxExecs || l.count() != 10_010+40*maxOwnerExecs-maxExecs {
		t.Errorf("%d lines, and %d dropped", all, l.count())
	}
	l.renew()
	if n := admitted("loud", 10); n != 10 {
		t.Errorf("%d lines of it in the next window", n)
	}
}

// It runs on all kernels: the program with the events of all execs is verified and works.
func TestExecsThatNoRuleMatchesAreReportedIfTheyAreWanted(t *testing.T) {
	var log testutil.Buffer
	env := detectortest.Env(t, detectortest.Options{Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	p := banning(t, "execwhackerexecsbanned")
	d := loadIn(t, env, p)
	detectortest.Run(t, d)
	run := func(word string) {
		t.Helper()
		if err := exec.Command("/bin/echo", word).Run(); err != nil {
			t.Fatal(err)
		}
	}
	run("execwhackerexecsfirst")
	p.LogExecs = true
	if err := d.Apply(p); err != nil {
		t.Fatal(err)
	}
	run("execwhackerexecssecond")
	const line = `"msg":"a program started","detector":"execwhacker","source":"exec","pid":`
	testutil.Eventually(t, "the line", func() bool {
		text := log.String()
		return strings.Contains(text, line) && strings.Contains(text, `"cmdline":"/bin/echo execwhackerexecssecond"`)
	})
	if strings.Contains(log.String(), "execwhackerexecsfirst") {
		t.Error("an exec was reported before")
	}
	_ = exec.Command("/bin/echo", "execwhackerexecsbanned").Run()
	testutil.Eventually(t, "the kill", func() bool { return strings.Contains(log.String(), `"action":"killed"`) })
	if n := strings.Count(log.String(), "/bin/echo execwhackerexecsbanned"); n != 1 {
		t.Errorf("%d lines of the killed program", n)
	}
}
