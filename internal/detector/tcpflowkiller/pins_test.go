package tcpflowkiller

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// The agent is known by its pid and its start: another process may get the pid when it is gone.
func TestAProcessWithThePidOfTheAgentIsJudged(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	for _, c := range []struct {
		name  string
		later time.Duration // the start of the agent, after that of the client
		dies  bool
	}{{"the agent itself", 0, false}, {"another one", time.Second, true}} {
		s := newSink(t, "tcp4", "127.0.0.1:0")
		cmd, _ := b.start(order{Address: s.Addr().String(), Sends: sends(electrum, login), Pause: testutil.Patience(time.Second)})
		testutil.Eventually(t, "the first words", func() bool { return s.text() == electrum })
		must(cmd.Process.Signal(syscall.SIGSTOP))
		at, err := b.env.Inventory.Locate(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		b.d.own = at.Instance()
		b.d.own.Start += c.later
		settings := Defaults()
		if err := b.d.apply(detector.Policy{Settings: settings}, settings, lists{}); err != nil {
			t.Fatal(err)
		}
		must(cmd.Process.Signal(syscall.SIGCONT))
		if signal, status := ended(cmd); (signal == syscall.SIGKILL) != c.dies {
			t.Errorf("%s: killed by %v, status %d", c.name, signal, status)
		}
	}
}

// An agent ends and another one starts, of the same build or of another one: what the kernel does
// meanwhile, what it knows of connections, and the counts.
func TestPinsHoldWhileNoAgentIsThere(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*pin.State) // of another build; nil for the same one
		other  bool             // rules
		said   string
	}{
		{"the same build", nil, false, `"rule":"the test's `},
		{"the same build and other rules", nil, true, `"rule":"rules of the agent before"`},
		{"another build", func(*pin.State) {}, false, `"rule":"the test's `},
		{"another build with other rules", func(s *pin.State) { s.Rules = "others" }, false, `"rule":"rules of the agent before"`},
		{"another build with other events", func(s *pin.State) { s.Events, s.Version = "another", "v0" }, false, `"version":"v0"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fs := testutil.MountBPF(t)
			dir, err := pin.Open(t.Context(), filepath.Join(fs, "pins"), "v1", 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { dir.Close() })
			banned := newSink(t, "tcp4", "127.9.9.9:0")
			o := bedOptions{pins: dir, settings: Defaults(), lists: lists{addresses: prefixes("127.9.9.9/32")}}
			b := newBed(t, o)
			refused := func(agent bool) string { // agent: one is there, which may kill first where the kernel cannot
				t.Helper()
				before := banned.connections()
				cmd, _ := b.start(order{Address: banned.Addr().String(), Sends: sends("hello")})
				signal, status := ended(cmd)
				dead := signal == syscall.SIGKILL
				if (killsInKernel() || !agent) && (dead != killsInKernel() || !dead && status != exitRefused) {
					t.Errorf("killed by %v, status %d", signal, status)
				}
				if banned.connections() != before {
					t.Fatalf("killed by %v, status %d", signal, status)
				}
				return fmt.Sprintf(`"pid":%d,`, cmd.Process.Pid)
			}
			refused(false)
			open := newSink(t, "tcp4", "127.0.0.1:0")
			// Half of a login while the first agent is there, the rest for the next one.
			half, _ := b.start(order{Address: open.Addr().String(), Sends: sends(login[:40], login[40:]), Pause: testutil.Patience(1500 * time.Millisecond), Stay: testutil.Patience(5 * time.Second)})
			testutil.Eventually(t, "the first half", func() bool { return open.text() == login[:40] })

			build := ""
			if c.change != nil {
				build = detectortest.RenameBuild(t, filepath.Join(fs, "pins", Name), c.change)
			}
			if err := b.d.Close(); err != nil {
				t.Fatal(err)
			}
			alone := refused(false)

			if c.other {
				o.lists.addresses = prefixes("127.9.9.9/32", "127.9.9.10/32")
			}
			b.load(o)
			detectortest.Run(t, b.d)
			last := refused(true)
			if signal, _ := ended(half); signal != syscall.SIGKILL || open.text() != login[:40] {
				t.Errorf("a login in two parts: killed by %v, %q arrives", signal, open.text())
			}
			// What a program of the former version counts at its end is taken over two seconds later.
			testutil.Eventually(t, "the counts", func() bool {
				all, err := b.d.fates()
				if err != nil {
					t.Fatal(err)
				}
				address, words := all[bpfReasonBECAUSE_ADDRESS], all[bpfReasonBECAUSE_STRATUM]
				return address[bpfFateFATE_KILLED] == 3 && address[bpfFateFATE_REFUSED] == 3 && words[bpfFateFATE_KILLED] == 1 && words[bpfFateFATE_REFUSED] == 1
			})
			testutil.Eventually(t, "the lines", func() bool {
				log := b.log.String()
				return strings.Contains(log, last) && strings.Contains(log, c.said) && (strings.Contains(log, alone) || strings.Contains(c.said, "v0"))
			})
			if log := b.log.String(); !strings.Contains(log, `"msg":"took over the protection that was pinned","detector":"tcpflowkiller"`) || strings.Contains(log, `"kills":0,`) {
				t.Error("nothing is said of what happened meanwhile")
			}
			for line := range strings.Lines(b.log.String()) {
				if strings.Contains(line, alone) && !strings.Contains(line, `"at":"`) {
					t.Errorf("no time in %s", line)
				}
			}
			if build != "" {
				testutil.Eventually(t, "the removal of the former version", func() bool {
					_, err := os.Stat(build)
					return os.IsNotExist(err)
				})
			}
		})
	}
}
