package tcpflowkiller

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A list that fails is made again, and what cannot be judged is judged again, each after a pause, until
// there is a newer policy.
func TestWhatFailsWithOlderConnectionsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Detector{Env: detector.Env{Log: slog.New(slog.DiscardHandler)}, applied: make(chan struct{}, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex // of the variables below
		lists, failing := 0, errors.New("failed")
		judged := make(map[uint32][]error) // by rules, what came of each try
		answers := map[uint32]error{1: nil, 2: failing, 3: process.ErrGone}
		list := func(func()) (*policy, []older, error) {
			mu.Lock()
			defer mu.Unlock()
			if lists++; lists < 3 {
				return nil, nil, failing
			}
			return &policy{generation: uint32(lists)}, []older{{rule: 1}, {rule: 2}, {rule: 3}}, nil
		}
		judge := func(_ context.Context, p *policy, o older) error {
			mu.Lock()
			defer mu.Unlock()
			if p.generation != uint32(lists) {
				t.Errorf("judged by policy %d", p.generation)
			}
			judged[o.rule] = append(judged[o.rule], answers[o.rule])
			return answers[o.rule]
		}
		ended := make(chan error)
		go func() { ended <- d.judgeListed(ctx, nil, list, judge) }()
		expect := func(after time.Duration, wantLists int, want ...int) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if lists != wantLists || len(judged[1]) != want[0] || len(judged[2]) != want[1] || len(judged[3]) != want[2] {
				t.Errorf("%d lists, judged %v", lists, judged)
			}
		}
		expect(time.Minute, 0, 0, 0, 0)
		d.wantOlder()
		expect(0, 1, 0, 0, 0)
		expect(500*time.Millisecond, 3, 1, 1, 1)
		expect(10*time.Second, 3, 1, 4, 1) // after 1, 3 and 7 s
		expect(time.Hour, 3, 1, 66, 1)     // after 15, 31 and 63 s, and then each minute
		d.wantOlder()
		expect(0, 4, 2, 67, 2)
		mu.Lock()
		answers[2] = nil
		mu.Unlock()
		expect(time.Hour, 4, 2, 68, 2)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// While one process keeps its reader waiting, other connections are judged.
func TestOlderConnectionsDoNotWaitForOneProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Detector{Env: detector.Env{Log: slog.New(slog.DiscardHandler)}}
		release := make(chan struct{})
		var others atomic.Int32
		var left []older
		go func() {
			left = d.judgeAll([]older{{rule: 1}, {rule: 2}, {rule: 3}}, func(o older) error {
				if o.rule == 1 {
					<-release
					return errors.New("failed")
				}
				others.Add(1)
				return nil
			})
		}()
		synctest.Wait()
		if n := others.Load(); n != 2 {
			t.Errorf("%d others are judged", n)
		}
		close(release)
		synctest.Wait()
		if len(left) != 1 || left[0].rule != 1 {
			t.Errorf("not judged: %v", left)
		}
	})
}

// Where the arguments cannot be read, the program is known nevertheless: an exemption by its path holds.
func TestAnOlderConnectionHasItsProgramWithoutArguments(t *testing.T) {
	b := newBed(t, bedOptions{stopped: true})
	s := newSink(t, "tcp4", "127.9.9.9:0")
	cmd, _ := b.start(order{Address: s.Addr().String(), Sends: sends("x"), Stay: time.Minute})
	testutil.Eventually(t, "the connection", func() bool { return s.text() == "x" })
	refuses := Defaults()
	refuses.Action = Refuse
	if err := b.d.apply(detector.Policy{Settings: refuses}, refuses, lists{addresses: prefixes("127.9.9.9/32")}); err != nil {
		t.Fatal(err)
	}
	p, all, err := b.d.olderConnections(nil)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel() // as after its time: nothing is read
	if err := b.d.judgeOne(ended, p, all[0]); err != nil {
		t.Fatal(err)
	}
	if l := b.line(cmd.Process.Pid); l["program"] != cmd.Path || l["cmdline"] != "" {
		t.Error(l)
	}
}

// A runtime that does not answer at first.
type lateRuntime struct {
	answers atomic.Bool
	aPod
}

// Lookup implements exempt.Containers.
func (r *lateRuntime) Lookup(ctx context.Context, ref cgroup.ContainerRef) (*container.Container, error) {
	if !r.answers.Load() {
		return nil, container.ErrUnknown
	}
	return r.aPod.Lookup(ctx, ref)
}

// While the runtime does not answer, as at the start of a node, nothing in a pod is killed, and nothing
// forgotten.
func TestOlderConnectionsWaitForTheRuntime(t *testing.T) {
	r := &lateRuntime{aPod: aPod{"default"}}
	b := newBed(t, bedOptions{Options: detectortest.Options{Exemptions: exempt.Rules{Namespaces: []string{"kube-system"}}, Containers: r}, cgroup: podCgroup})
	s := newSink(t, "tcp4", "127.9.9.9:0")
	cmd, _ := b.start(order{Address: s.Addr().String(), Sends: sends("x"), Stay: time.Minute})
	testutil.Eventually(t, "the connection", func() bool { return s.text() == "x" })
	if err := b.d.apply(detector.Policy{}, Defaults(), lists{addresses: prefixes("127.9.9.9/32")}); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "a try", func() bool { return strings.Contains(b.log.String(), "older connections not judged, will retry") })
	if all := b.lines(cmd.Process.Pid); len(all) > 0 {
		t.Error(all)
	}
	r.answers.Store(true)
	if signal, _ := ended(cmd); signal != syscall.SIGKILL {
		t.Errorf("killed by %v", signal)
	}
	if l := b.line(cmd.Process.Pid); l["action"] != "killed" || l["older"] != true {
		t.Error(l)
	}
}

// What is connected when an address is banned dies at once, and what passes on for others lives.
func TestOlderConnectionsAreFound(t *testing.T) {
	b := newBed(t, bedOptions{})
	s := newSink(t, "tcp", "[::]:0")
	_, port, _ := net.SplitHostPort(s.Addr().String())
	at := func(host string) string { return net.JoinHostPort(host, port) }
	stay := testutil.Patience(20 * time.Second)
	banned, _ := b.start(order{Address: at("127.9.9.9"), Sends: sends("x"), Stay: stay, Args: []string{"--password=hunter2"}})
	mapped, _ := b.start(order{Address: at("::ffff:127.9.9.9"), Sends: sends("x"), Stay: stay})
	datagram, _ := b.start(order{Network: "udp", Address: at("127.9.9.9"), Sends: sends("x"), Stay: stay})
	other, _ := b.start(order{Address: at("127.9.9.8"), Sends: sends("x"), Stay: stay})
	proxy := b.forwarder(order{Address: at("127.9.9.9"), Sends: sends("x"), Stay: stay})
	testutil.Eventually(t, "the connections", func() bool { return s.connections() == 4 && len(s.text()) == 4 })
	if err := b.d.apply(detector.Policy{}, Defaults(), lists{addresses: prefixes("127.9.9.9/32")}); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*struct {
		name string
		wait func() (syscall.Signal, int)
		pid  int
	}{
		{"a banned address", func() (syscall.Signal, int) { return ended(banned) }, banned.Process.Pid},
		{"a mapped one", func() (syscall.Signal, int) { return ended(mapped) }, mapped.Process.Pid},
		{"a connected datagram socket", func() (syscall.Signal, int) { return ended(datagram) }, datagram.Process.Pid},
	} {
		if signal, _ := cmd.wait(); signal != syscall.SIGKILL {
			t.Errorf("%s: killed by %v", cmd.name, signal)
		}
		if l := b.line(cmd.pid); l["action"] != "killed" || l["older"] != true || !strings.HasPrefix(l["rule"].(string), "the test's 127.9.9.9/32") {
			t.Errorf("%s: %v", cmd.name, l)
		}
	}
	if l := b.line(banned.Process.Pid); !strings.HasSuffix(l["cmdline"].(string), " --password=***") {
		t.Error(l)
	}
	if l := b.line(proxy.Process.Pid); l["action"] != "observed" || l["spared"] != "forwarder" {
		t.Error(l)
	}
	for _, cmd := range []*exec.Cmd{other, proxy} {
		must(cmd.Process.Signal(syscall.SIGTERM))
		if signal, status := ended(cmd); signal != syscall.SIGTERM {
			t.Errorf("another address, or a forwarder: killed by %v, status %d", signal, status)
		}
	}
}
