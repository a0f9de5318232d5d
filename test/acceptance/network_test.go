package acceptance

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// The addresses of a rule file in the older form are refused and reloaded. Nothing else on the
// machine uses this address of the loopback.
func TestBannedAddressesAreRefusedAndReloaded(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	const banned = "127.113.57.91"
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	addresses := filepath.Join(t.TempDir(), "ips.addresses")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(addresses, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# from the older chart\n" + banned + "\n")
	word := agenttest.WriteJSON(t, "word.json", agenttest.Rules{Strings: []string{agenttest.NewWord()}})
	a := agenttest.Start(t, agenttest.Options{Settings: map[string]any{
		"rules": []string{word, addresses}, "tcpflowkiller": map[string]any{"enabled": true, "action": "refuse"},
	}})
	dial := func(host string) error {
		c, err := net.Dial("tcp4", net.JoinHostPort(host, port))
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	if err := dial(banned); !errors.Is(err, syscall.EPERM) {
		t.Errorf("a banned address: %v", err)
	}
	if err := dial("127.113.57.90"); err != nil {
		t.Errorf("another address: %v", err)
	}
	line := a.Verdict(t, "refused", os.Getpid())
	if line.Detector != "tcpflowkiller" || line.Source != "banned-ip" || !strings.Contains(line.Rule, "ips.addresses:2 ") {
		t.Errorf("got the line %s", line.Raw)
	}
	write("127.113.57.92\n")
	a.Reload(t)
	if err := dial(banned); err != nil {
		t.Errorf("an address that is no longer banned: %v", err)
	}
	if n := a.Metrics(t)[`cryptnono_flowkiller_refused_total{reason="banned-ip"}`]; n != 1 {
		t.Errorf("%v refused", n)
	}
	a.Stop()
	if err := dial("127.113.57.92"); err != nil {
		t.Errorf("after the end of the agent: %v", err)
	}
}

// What only tcpflowkiller needs is dropped where it is off.
func TestTheCapabilityForConnectionsIsDroppedWhereItIsNotNeeded(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	for _, on := range []bool{true, false} {
		a := agenttest.Start(t, agenttest.Options{
			Rules:    agenttest.Rules{Strings: []string{agenttest.NewWord()}},
			Settings: map[string]any{"tcpflowkiller": map[string]any{"enabled": on, "action": "observe"}},
		})
		threads, err := filepath.Glob("/proc/" + strconv.Itoa(a.Process.Pid) + "/task/*/status")
		if err != nil || len(threads) == 0 {
			t.Fatal(err)
		}
		for _, file := range threads {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // it has ended
			}
			_, after, _ := strings.Cut(string(text), "CapEff:\t")
			set, _, _ := strings.Cut(after, "\n")
			if n, err := strconv.ParseUint(set, 16, 64); err != nil || (n&(1<<unix.CAP_NET_ADMIN) != 0) != on {
				t.Errorf("with the detector on: %v, a thread has %s", on, set)
			}
		}
		a.Stop()
	}
}
