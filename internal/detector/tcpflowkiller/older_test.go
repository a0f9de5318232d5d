package tcpflowkiller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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
	"github.com/cryptnono/cryptnono/internal/procread"
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

// A process with connections to several banned addresses dies for the first, with one line and one place
// of the kill limit.
func TestAProcessOfOlderConnectionsIsKilledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Detector{Env: detector.Env{Log: slog.New(slog.DiscardHandler)}}
		killed, spared := new(socketOwner), new(socketOwner)
		var all []older
		for range judgedAtOnce {
			all = append(all, older{ownedSocket: ownedSocket{owner: killed}, turn: "its"}, older{ownedSocket: ownedSocket{owner: spared}, turn: "its"})
		}
		var mu sync.Mutex // of the next
		judged := make(map[*socketOwner]int)
		left := d.judgeAll(t.Context(), all, func(o older) error {
			mu.Lock()
			judged[o.owner]++
			mu.Unlock()
			time.Sleep(time.Second)
			if o.owner == killed {
				return process.ErrGone
			}
			return nil
		})
		if judged[killed] != 1 || judged[spared] != judgedAtOnce || len(left) > 0 {
			t.Errorf("judged %d and %d times, left %v", judged[killed], judged[spared], left)
		}
	})
}

// An owner whose processes all keep their readers waiting holds one worker: others are judged.
func TestOwnersOfOlderConnectionsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Detector{Env: detector.Env{Log: slog.New(slog.DiscardHandler)}}
		var all []older
		for range 100 {
			all = append(all, older{ownedSocket: ownedSocket{owner: new(socketOwner)}, turn: "slow"})
		}
		const others = 2 * judgedAtOnce
		for i := range others {
			all = append(all, older{ownedSocket: ownedSocket{owner: new(socketOwner)}, turn: fmt.Sprint(i)})
		}
		began := time.Now()
		var late, now, done atomic.Int32
		left := d.judgeAll(t.Context(), all, func(o older) error {
			if n := now.Add(1); n > judgedAtOnce {
				t.Errorf("%d are judged at once", n)
			}
			defer now.Add(-1)
			done.Add(1)
			if o.turn == "slow" {
				time.Sleep(time.Second)
			} else if time.Since(began) > 0 {
				late.Add(1)
			}
			return nil
		})
		if late.Load() > 0 || int(done.Load()) != len(all) || len(left) > 0 {
			t.Errorf("%d others had to wait, %d of %d were judged, left %v", late.Load(), done.Load(), len(all), left)
		}
	})
}

// While one process keeps its reader waiting, connections of other owners are judged.
func TestOlderConnectionsDoNotWaitForOneProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Detector{Env: detector.Env{Log: slog.New(slog.DiscardHandler)}}
		release := make(chan struct{})
		var others atomic.Int32
		var left []older
		go func() {
			left = d.judgeAll(t.Context(), []older{{rule: 1, turn: "a"}, {rule: 2, turn: "b"}, {rule: 3, turn: "c"}}, func(o older) error {
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

// withOlder returns a detector that has found a connection of cmd to a banned address, and judges nothing itself.
func withOlder(t *testing.T, rules exempt.Rules, program string, its *Settings) (b *bed, cmd *exec.Cmd, p *policy, o older) {
	t.Helper()
	b = newBed(t, bedOptions{Options: detectortest.Options{Exemptions: rules}, stopped: true})
	s := newSink(t, "tcp4", "127.9.9.9:0")
	cmd, _ = b.start(order{Address: s.Addr().String(), Sends: sends("x"), Stay: time.Minute, Program: program})
	testutil.Eventually(t, "the connection", func() bool { return s.text() == "x" })
	if err := b.d.apply(detector.Policy{Settings: its}, its, lists{addresses: prefixes("127.9.9.9/32")}); err != nil {
		t.Fatal(err)
	}
	p, all, err := b.d.olderConnections(nil)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	return b, cmd, p, all[0]
}

func refuses() *Settings {
	s := Defaults()
	s.Action = Refuse
	return s
}

// expired returns a context whose time is over: nothing is read.
func expired(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	t.Cleanup(cancel)
	return ctx
}

// Without its arguments, an exempt script is not known as one: its connection is judged later, though not
// for as long as the script likes, and not at all when the agent stops.
func TestAnExemptScriptWithAnOlderConnectionLives(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!"+own+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	b, cmd, p, o := withOlder(t, exempt.Rules{Programs: []string{script}}, script, Defaults())
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.d.judgeOne(stopped, p, o); !errors.Is(err, context.Canceled) {
		t.Errorf("judged while the agent stops: %v", err)
	}
	<-b.d.applied // or all are listed again
	all := []older{o}
	for range lastTry {
		all = b.d.judgeAll(t.Context(), all, func(o older) error { return b.d.judgeOne(expired(t), p, o) })
	}
	if len(all) != 1 || all[0].tries != lastTry || len(b.lines(cmd.Process.Pid)) > 0 {
		t.Fatalf("judged without its arguments: %v", all)
	}
	if err := b.d.judgeOne(t.Context(), p, o); err != nil {
		t.Fatal(err)
	}
	if l := b.line(cmd.Process.Pid); l["action"] != "spared" || l["allowedby"] != "program "+script {
		t.Error(l)
	}
	if err := b.d.judgeOne(expired(t), p, all[0]); !errors.Is(err, process.ErrGone) {
		t.Errorf("never judged: %v", err)
	}
}

// When the agent stops, what is left is not judged.
func TestNoOlderConnectionIsJudgedWhileTheAgentStops(t *testing.T) {
	d := &Detector{Env: detector.Env{Log: slog.New(slog.DiscardHandler)}}
	ctx, cancel := context.WithCancel(t.Context())
	judged := 0
	left := d.judgeAll(ctx, []older{{turn: "one"}, {turn: "one", ownedSocket: ownedSocket{owner: new(socketOwner)}}}, func(older) error {
		judged++
		cancel()
		return ctx.Err()
	})
	if judged != 1 || len(left) > 0 {
		t.Errorf("judged %d, left %v", judged, left)
	}
}

// Where the arguments cannot be read, the program is known nevertheless: an exemption by its path holds.
func TestAnOlderConnectionHasItsProgramWithoutArguments(t *testing.T) {
	b, cmd, p, o := withOlder(t, exempt.Rules{}, "", refuses())
	if err := b.d.judgeOne(expired(t), p, o); err != nil {
		t.Fatal(err)
	}
	if l := b.line(cmd.Process.Pid); l["program"] != cmd.Path || l["cmdline"] != "" {
		t.Error(l)
	}
}

// Where not even the program can be read, nothing is known of an exemption: the process is judged later.
func TestAnOlderConnectionWithoutItsProgramIsNotJudged(t *testing.T) {
	b, cmd, p, o := withOlder(t, exempt.Rules{}, "", refuses())
	closed := procread.NewReader(b.env.Log)
	if err := closed.Close(); err != nil { // its reads fail
		t.Fatal(err)
	}
	b.d.Judge.Reader = closed
	if err := b.d.judgeOne(t.Context(), p, o); err == nil || errors.Is(err, process.ErrGone) {
		t.Errorf("judged: %v", err)
	}
	if lines := b.lines(cmd.Process.Pid); len(lines) > 0 {
		t.Error(lines)
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

// Each process dies with one line, however many banned addresses it is connected to.
func TestOlderConnectionsOfOneProcessHaveOneLine(t *testing.T) {
	b := newBed(t, bedOptions{stopped: true})
	s := newSink(t, "tcp", "[::]:0")
	_, port, _ := net.SplitHostPort(s.Addr().String())
	o := order{Address: net.JoinHostPort("127.9.9.1", port), Sends: sends("x"), Stay: time.Minute}
	for i := 2; i <= 8; i++ {
		o.Also = append(o.Also, net.JoinHostPort(fmt.Sprintf("127.9.9.%d", i), port))
	}
	cmd, _ := b.start(o)
	testutil.Eventually(t, "the connections", func() bool { return s.connections() == 8 && s.text() == "x" })
	if err := b.d.apply(detector.Policy{Settings: Defaults()}, Defaults(), lists{addresses: prefixes("127.9.9.0/24")}); err != nil {
		t.Fatal(err)
	}
	<-b.d.applied
	p, all, err := b.d.olderConnections(nil)
	if err != nil || len(all) != 8 {
		t.Fatal(len(all), err)
	}
	if left := b.d.judgeAll(t.Context(), all, func(o older) error { return b.d.judgeOne(t.Context(), p, o) }); len(left) > 0 {
		t.Error(left)
	}
	if signal, _ := ended(cmd); signal != syscall.SIGKILL {
		t.Errorf("killed by %v", signal)
	}
	if l := b.line(cmd.Process.Pid); l["action"] != "killed" {
		t.Error(l)
	}
	if at := all[0].turn; at == "" {
		t.Error("its owner is not known")
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
