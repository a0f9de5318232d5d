package acceptance

import (
	"net/http"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// Without a free descriptor no process can be read. The agent, its scan and the kills in the
// kernel continue.
func TestTheAgentContinuesWithoutFreeDescriptors(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	word := agenttest.NewWord()
	a := start(t, agenttest.Rules{Strings: []string{word}}, "--scan-interval", "1s")
	var before unix.Rlimit
	none := unix.Rlimit{Cur: 3, Max: 3}
	if err := unix.Prlimit(a.Process.Pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	none.Max = before.Max
	if err := unix.Prlimit(a.Process.Pid, unix.RLIMIT_NOFILE, &none, nil); err != nil {
		t.Fatal(err)
	}
	a.Line(t, "of a scan that failed", func(l agenttest.Line) bool { return l.Msg == "loop iteration failed" })
	dies(t, exec.Command("/bin/echo", word))
	if err := unix.Prlimit(a.Process.Pid, unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatal(err)
	}
	word = agenttest.NewWord()
	running := sleep(t, word)
	write(t, a.Rules, `{"bannedCommandStrings": ["`+word+`"]}`) // a reload causes a scan
	running.isKilled()
	if status, _ := get(t, a, "/readyz"); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if n := a.Metrics(t)[`cryptnono_loop_errors_total{loop="execwhacker scan"}`]; n == 0 {
		t.Error("the errors of the scan are not counted")
	}
}
