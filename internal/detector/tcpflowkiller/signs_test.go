package tcpflowkiller

import (
	"os/exec"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/detector/tcpflowkiller/firstbytes"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// What another detector is told of a client that it suspects.
func TestWhatIsASignOfAPool(t *testing.T) {
	const pool = "minexmr.com"
	ask, https, plain := order{Asks: []byte(question(pool, false)), AsksAt: dns},
		order{Sends: sends(socks(pool, 443), testutil.ClientHello(t, "127.0.0.1"))}, order{Sends: sends(testutil.ClientHello(t, pool))}
	type client struct {
		name string
		does order
		// The sign, "" for none, and whether it is proof together with what other programs compute too.
		sign   string
		strong bool
	}
	unwanted := []client{{"a question", ask, "", false}, {"TLS to port 443", https, "", false}, {"TLS to another port", plain, "", false}}
	names := []bannedName{{pool, firstbytes.NameUsual, "pools"}, {"refuse.test", firstbytes.NameRefuse, "refuse"}, {"observe.test", firstbytes.NameObserve, "observe"}}
	forwards := func(o order) order { o.Listen = true; return o }
	for _, tt := range []struct {
		name    string
		options bedOptions
		change  func(*Settings)
		clients []client
	}{
		{"by default", bedOptions{}, nil, []client{
			{"a question", ask, "question for " + pool, true},
			{"a refused connection", plain, "refused " + pool, true},
			{"TLS to port 443", https, "TLS to " + pool, false},
			{"a question for another name", order{Asks: []byte(question("example.org", false)), AsksAt: dns}, "", false},
			{"a web client", order{Sends: sends(testutil.ClientHello(t, pool, "h2"))}, "", false},
			{"TLS to another name", order{Sends: sends(testutil.ClientHello(t, "example.org"))}, "", false},
			{"words that others say too", order{Sends: sends(`{"id":1,"method":"eth_getWork","params":[]}` + "\n")}, "", false},
			{"a forwarder's question", forwards(ask), "", false},
			{"a forwarder's connection", forwards(plain), "", false},
			{"a name that the operator refuses", order{Asks: []byte(question("refuse.test", false)), AsksAt: dns}, "", false},
			{"a name that the operator observes", order{Asks: []byte(question("observe.test", false)), AsksAt: dns}, "", false},
			{"TLS to such a name", order{Sends: sends(testutil.ClientHello(t, "observe.test"))}, "", false},
		}},
		{"names: observe", bedOptions{}, func(s *Settings) { s.Names = Observe }, unwanted},
		{"action: observe", bedOptions{}, func(s *Settings) { s.Action = Observe }, unwanted},
		{"action: refuse", bedOptions{}, func(s *Settings) { s.Action = Refuse }, unwanted},
		{"all is observed", bedOptions{observe: true}, nil, unwanted},
		{"an exempt cgroup", bedOptions{Options: detectortest.Options{Exemptions: exempt.Rules{Cgroups: []string{"/cryptnono-flow-*"}}}}, nil, unwanted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.options.settings, tt.options.lists.names = Defaults(), names
			if tt.change != nil {
				tt.change(tt.options.settings)
			}
			b := newBed(t, tt.options)
			b.classify()
			running := make([]*exec.Cmd, len(tt.clients))
			for i, c := range tt.clients {
				o := c.does
				if len(o.Sends) > 0 {
					o.Address = newSink(t, "tcp4", "127.0.0.1:0").Addr().String()
				}
				o.Stay = time.Minute
				if o.Listen {
					running[i] = b.forwarder(o)
				} else {
					running[i], _ = b.start(o)
				}
			}
			other := func(i int, kind verdict.SignKind) string {
				at, err := b.env.Inventory.Locate(running[i].Process.Pid)
				if err != nil {
					t.Fatal(err)
				}
				return b.env.Judge.Meet(at, verdict.Sign{Kind: kind})
			}
			for i, c := range tt.clients {
				if c.sign != "" {
					testutil.Eventually(t, c.name, func() bool { return other(i, verdict.Computes) != "" })
				}
			}
			time.Sleep(testutil.Patience(300 * time.Millisecond))
			for i, c := range tt.clients {
				want, wantStrong := "", ""
				if c.sign != "" {
					want = Name + ": " + c.sign
				}
				if c.strong {
					wantStrong = want
				}
				if got, strong := other(i, verdict.Computes), other(i, verdict.MayCompute); got != want || strong != wantStrong {
					t.Errorf("%s: %q, and with what others compute %q; want %q and %q", c.name, got, strong, want, wantStrong)
				}
			}
		})
	}
}

// In a container, a process that was killed at its pool tells of the others.
func TestAKillIsASignInItsContainer(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{cgroup: podCgroup})
	b.classify()
	cmd, _ := b.start(order{Address: newSink(t, "tcp4", "127.0.0.1:0").Addr().String(), Sends: sends(`{"id":1,"method":"mining.subscribe","params":[]}` + "\n"), Stay: time.Minute})
	_ = cmd.Wait()
	at, err := b.env.Inventory.Locate(b.run(exec.Command("sleep", "60")).Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the sign", func() bool {
		return b.env.Judge.Meet(at, verdict.Sign{Kind: verdict.MayCompute}) == Name+": refused mining"
	})
}
