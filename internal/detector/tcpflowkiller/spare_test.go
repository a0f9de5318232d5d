package tcpflowkiller

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// copyOfSelf returns another file with this program.
func copyOfSelf(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	file := filepath.Join(t.TempDir(), "exempt-client")
	out, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o700)
	if err == nil {
		_, err = io.Copy(out, in)
		_ = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestExemptProgramsMine(t *testing.T) {
	t.Parallel()
	program := copyOfSelf(t)
	b := newBed(t, bedOptions{Options: detectortest.Options{Exemptions: exempt.Rules{Programs: []string{program}}}})
	s := newSink(t, "tcp4", "127.0.0.1:0")
	cmd, _ := b.start(order{Program: program, Address: s.Addr().String(), Sends: sends(login, subscribe), Pause: 10 * time.Millisecond})
	if signal, status := ended(cmd); signal != 0 || status != exitDone {
		t.Errorf("killed by %v, status %d", signal, status)
	}
	testutil.Eventually(t, "all bytes", func() bool { return s.text() == login+subscribe })
	if l := b.line(cmd.Process.Pid); l["action"] != "spared" || l["allowedby"] != "program "+program || l["refused"] != false {
		t.Error(l)
	}
}

func TestWhatIsOnlyObservedOrRefused(t *testing.T) {
	only := func(a Action) *Settings { s := Defaults(); s.Action = a; return s }
	stratum := func(a Action) *Settings { s := Defaults(); s.Stratum = a; return s }
	for _, c := range []struct {
		name            string
		settings        *Settings
		observe         bool
		action          any
		arrives, killed bool
	}{
		{"the agent observes", Defaults(), true, "observed", true, false},
		{"the detector observes", only(Observe), false, "observed", true, false},
		{"the detector refuses", only(Refuse), false, "refused", false, false},
		{"stratum is observed", stratum(Observe), false, "observed", true, false},
		{"stratum is refused", stratum(Refuse), false, "refused", false, false},
		{"stratum is off", stratum(Off), false, nil, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, bedOptions{settings: c.settings, observe: c.observe})
			s := newSink(t, "tcp4", "127.0.0.1:0")
			cmd, _ := b.start(order{Address: s.Addr().String(), Sends: sends(electrum, subscribe)})
			if signal, status := ended(cmd); signal != 0 || status != exitDone {
				t.Errorf("killed by %v, status %d", signal, status)
			}
			want := electrum
			if c.arrives {
				want += subscribe
			}
			testutil.Eventually(t, "all bytes", func() bool { return s.text() == want })
			if c.action == nil {
				if l := b.lines(cmd.Process.Pid); len(l) != 0 {
					t.Error(l)
				}
				return
			}
			if l := b.line(cmd.Process.Pid); l["action"] != c.action || l["refused"] != !c.arrives {
				t.Error(l)
			}
		})
	}
}

// HTTP requests may be somebody else's, that a proxy passes on.
func TestWordsInsideHTTPAreObserved(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	for _, c := range []struct{ name, body string }{
		{"a template", `{"id":2,"jsonrpc":"2.0","method":"getblocktemplate","params":{"wallet_address":"4x"}}`},
		{"a login", login},
	} {
		s := newSink(t, "tcp4", "127.0.0.1:0")
		request := "POST /json_rpc HTTP/1.1\r\nHost: x\r\n\r\n" + c.body
		cmd, _ := b.start(order{Address: s.Addr().String(), Sends: sends(request)})
		if signal, _ := ended(cmd); signal != 0 {
			t.Errorf("%s: killed", c.name)
		}
		testutil.Eventually(t, "all bytes", func() bool { return s.text() == request })
		if l := b.line(cmd.Process.Pid); l["action"] != "observed" {
			t.Errorf("%s: %v", c.name, l)
		}
	}
	// What is observed does not hide what follows.
	s := newSink(t, "tcp4", "127.0.0.1:0")
	work := `{"id":1,"method":"eth_getWork","params":[]}` + "\n"
	cmd, _ := b.start(order{Address: s.Addr().String(), Sends: sends(work, login), Pause: 10 * time.Millisecond})
	if signal, _ := ended(cmd); signal != syscall.SIGKILL || s.text() != work {
		t.Errorf("killed by %v, %q arrives", signal, s.text())
	}
}

// A forwarder sends what others have said.
func TestForwardersAreRefusedAndLive(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{lists: lists{addresses: prefixes("127.9.9.9/32")}})
	for _, c := range []struct {
		name    string
		address string
		sends   [][]byte
		source  string
	}{
		{"a stranger's login", "", sends(login), "stratum"},
		{"a stranger's address", "127.9.9.9", sends("x"), "banned-ip"},
	} {
		s := newSink(t, "tcp4", "0.0.0.0:0")
		_, port, _ := net.SplitHostPort(s.Addr().String())
		address := c.address
		if address == "" {
			address = "127.0.0.1"
		}
		cmd := b.forwarder(order{Address: net.JoinHostPort(address, port), Sends: c.sends})
		if signal, _ := ended(cmd); signal != 0 {
			t.Errorf("%s: killed by %v", c.name, signal)
		}
		if got := s.text(); got != "" {
			t.Errorf("%s: %q arrives", c.name, got)
		}
		if l := b.line(cmd.Process.Pid); l["action"] != "refused" || l["spared"] != "forwarder" || l["source"] != c.source {
			t.Errorf("%s: %v", c.name, l)
		}
	}
	m, err := b.d.fates()
	if err != nil {
		t.Fatal(err)
	}
	if m[bpfReasonBECAUSE_STRATUM][bpfFateFATE_FORWARDER] != 1 || m[bpfReasonBECAUSE_ADDRESS][bpfFateFATE_FORWARDER] != 1 {
		t.Errorf("counted %v", m)
	}
}

// What is sent late, by nobody in particular, is refused too, and its sender is found.
func TestWhatIsKeptBackIsJudgedWhenItLeaves(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	s := newSink(t, "tcp4", "127.0.0.1:0")
	cmd, _ := b.start(order{Address: s.Addr().String(), Sends: sends(login), More: true, Stay: testutil.Patience(10 * time.Second)})
	if signal, _ := ended(cmd); signal != syscall.SIGKILL {
		t.Errorf("killed by %v", signal)
	}
	if got := s.text(); got != "" {
		t.Errorf("%q arrives", got)
	}
	if l := b.line(cmd.Process.Pid); l["action"] != "killed" {
		t.Error(l)
	}
}

// The same where no process is killed: its sender is named nevertheless.
func TestWhatIsKeptBackKillsOnlyWhereThatIsWanted(t *testing.T) {
	for action, want := range map[Action]string{Refuse: "refused", Observe: "observed"} {
		t.Run(string(action), func(t *testing.T) {
			t.Parallel()
			settings := Defaults()
			settings.Action = action
			b := newBed(t, bedOptions{settings: settings})
			s := newSink(t, "tcp4", "127.0.0.1:0")
			cmd, _ := b.start(order{Address: s.Addr().String(), Sends: sends(login), More: true, Stay: testutil.Patience(2 * time.Second)})
			if signal, _ := ended(cmd); signal != 0 {
				t.Errorf("killed by %v", signal)
			}
			if arrives := s.text() == login; arrives != (action == Observe) {
				t.Errorf("%q arrives", s.text())
			}
			if l := b.line(cmd.Process.Pid); l["action"] != want {
				t.Error(l)
			}
		})
	}
}

// aPod is a runtime that says of every container that it is of a namespace, after a while.
type aPod struct{ namespace string }

// Lookup implements exempt.Containers.
func (p aPod) Lookup(context.Context, cgroup.ContainerRef) (*container.Container, error) {
	return &container.Container{Namespace: p.namespace}, nil
}

const podCgroup = "kubepods/burstable/pod0b3c5b1e-1a2b-4c3d-8e9f-0123456789ab/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// In an unknown container the connection is refused until it is known, and then TCP sends again.
func TestUnknownContainers(t *testing.T) {
	for _, c := range []struct {
		name      string
		namespace string
		exempt    bool
	}{
		{"that is exempt", "kube-system", true},
		{"that is not", "default", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, bedOptions{
				Options: detectortest.Options{Exemptions: exempt.Rules{Namespaces: []string{"kube-system"}}, Containers: aPod{c.namespace}},
				cgroup:  podCgroup,
			})
			s := newSink(t, "tcp4", "127.0.0.1:0")
			cmd, _ := b.start(order{Address: s.Addr().String(), Sends: sends(login), Stay: testutil.Patience(3 * time.Second)})
			signal, _ := ended(cmd)
			if c.exempt {
				if signal != 0 || s.text() != login {
					t.Errorf("killed by %v, %q arrives", signal, s.text())
				}
				if l := b.line(cmd.Process.Pid); l["action"] != "spared" || l["allowedby"] != "namespace kube-system" {
					t.Error(l)
				}
			} else {
				if signal != syscall.SIGKILL || s.text() != "" {
					t.Errorf("killed by %v, %q arrives", signal, s.text())
				}
				if l := b.line(cmd.Process.Pid); l["action"] != "killed" {
					t.Error(l)
				}
			}
		})
	}
}

func TestTheKillLimitHolds(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	if err := b.env.Judge.Limit.Apply(killlimit.Limits{PerMinute: 2, Cooldown: time.Minute}); err != nil {
		t.Fatal(err)
	}
	killed := 0
	for range 4 {
		s := newSink(t, "tcp4", "127.0.0.1:0")
		cmd, _ := b.start(order{Address: s.Addr().String(), Sends: sends(login)})
		if signal, _ := ended(cmd); signal == syscall.SIGKILL {
			killed++
		} else if l := b.line(cmd.Process.Pid); l["action"] != "observed" || l["limited"] != true {
			t.Error(l)
		}
	}
	if killed != 2 {
		t.Errorf("%d killed", killed)
	}
}

// Each connection is judged by the old or the new policy.
func TestAReloadLeavesNoGap(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	s := newSink(t, "tcp4", "127.0.0.1:0")
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := b.d.apply(detector.Policy{}, Defaults(), lists{addresses: []bannedAddress{{prefix: netip.MustParsePrefix("127.9.9.9/32")}}}); err != nil {
				done <- err
				return
			}
		}
	}()
	for b.d.policy.Load().generation < 3 {
		cmd, _ := b.start(order{Address: s.Addr().String(), Sends: sends(login[:50], login[50:]), Pause: time.Millisecond, Stay: testutil.Patience(5 * time.Second)})
		if signal, _ := ended(cmd); signal != syscall.SIGKILL {
			t.Fatalf("killed by %v", signal)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if strings.Contains(s.text(), "XMRig") {
		t.Error("a login arrives")
	}
	t.Logf("%d policies", b.d.policy.Load().generation)
}
