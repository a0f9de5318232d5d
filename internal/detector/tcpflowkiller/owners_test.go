package tcpflowkiller

import (
	"errors"
	"log/slog"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// All who wait for a list are served by one, that begins after they came.
func TestOneListServesAllWhoWait(t *testing.T) {
	var o owners
	lists := make(chan []uint64, 9) // their inodes
	release := make(chan error)
	list := func(found map[uint64][]ownedSocket) error {
		var inodes []uint64
		for inode := range found {
			inodes = append(inodes, inode)
			found[inode] = []ownedSocket{{socket: bpfListedSocket{Inode: inode, Pid: uint32(inode)}}}
		}
		lists <- inodes
		return <-release
	}
	var all sync.WaitGroup
	failed := errors.New("failed")
	ask := func(inode uint64, want error) {
		all.Go(func() {
			if got, err := o.of(inode, list); len(got) != 1 || got[0].socket.Pid != uint32(inode) || !errors.Is(err, want) {
				t.Errorf("for %d: %v, %v", inode, got, err)
			}
		})
	}
	ask(7, nil)
	if first := <-lists; len(first) != 1 {
		t.Errorf("a list of %v", first)
	}
	for inode := range uint64(50) { // 7 again
		ask(inode, failed)
	}
	testutil.Eventually(t, "all who wait", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.next != nil && len(o.next.found) == 50
	})
	release <- nil
	release <- failed
	all.Wait()
	if second := <-lists; len(lists) != 0 || len(second) != 50 {
		t.Errorf("a list of %v, and %d more", second, len(lists))
	}
}

// verdicts returns the lines of verdicts in a log.
func verdicts(log *testutil.Buffer) []map[string]any {
	return linesOf(log, func(v map[string]any) bool { return v["action"] != nil })
}

// A verdict of the kernel that is not carried out has a line and is counted nevertheless, once.
func TestAVerdictThatIsNotCarriedOutIsCounted(t *testing.T) {
	for _, full := range []bool{false, true} {
		log := &testutil.Buffer{}
		logger := slog.New(slog.NewJSONHandler(log, nil))
		judge := &verdict.Judge{Report: report.New(logger, "", nil), Log: logger}
		d := &Detector{Env: detector.Env{Judge: judge, Log: logger}, began: time.Hour}
		pending := d.newUndecided()
		release := make(chan struct{})
		for full && pending.Go("", func() { <-release }) {
		}
		e := event{Event: verdict.Event{Outcome: verdict.OutcomeBanned}}
		e.PID, e.raw.Refused, e.raw.Act, e.raw.Reason = 1<<22, 1, uint32(bpfActACT_KILL), uint32(bpfReasonBECAUSE_STRATUM)
		p := &policy{settings: Defaults(), gone: !full}
		d.handle(t.Context(), e, p, pending)
		close(release)
		pending.Wait()
		all := verdicts(log)
		counts := d.tallies[bpfReasonBECAUSE_STRATUM].Counts()
		if len(all) != 1 || all[0]["action"] != "refused" || counts != (verdict.Counts{verdict.Refused: 1}) {
			t.Errorf("full: %v: %v, counted %v", full, all, counts)
		}
	}
}

// A user whose data is refused again and again without a known process, in many cgroups, takes no places of others.
func TestVerdictsOnNobodyHaveTheirOwnPlaces(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	judge := &verdict.Judge{Report: report.New(logger, "", nil), Log: logger}
	d := &Detector{Env: detector.Env{Judge: judge, Log: logger}}
	l := &ownersList{found: make(map[uint64][]ownedSocket), done: make(chan struct{})}
	d.owners.next = l // for which all wait
	pending := d.newUndecided()
	const places = 256 // maxPending in internal/verdict
	for i := range uint64(1000) {
		e := event{}
		e.raw.Inode, e.raw.Cgroup, e.raw.Reason = i, i/50, uint32(bpfReasonBECAUSE_STRATUM)
		e.raw.Refused, e.raw.Act, e.raw.Spared = 1, uint32(bpfActACT_KILL), uint32(bpfSparedSPARED_NOBODY)
		d.handle(t.Context(), e, &policy{settings: Defaults()}, pending)
	}
	if !pending.Go("another user", func() {}) {
		t.Error("no place for a verdict on a process that is known")
	}
	testutil.Eventually(t, "all that have a place", func() bool {
		d.owners.mu.Lock()
		defer d.owners.mu.Unlock()
		return len(l.found) == places
	})
	close(l.done)
	pending.Wait()
	if counts := d.tallies[bpfReasonBECAUSE_STRATUM].Counts(); counts != (verdict.Counts{verdict.Refused: 1000}) {
		t.Errorf("counted %v", counts)
	}
}

// Without a place for a process in an unknown container, its connection stays refused.
func TestAConnectionIsNotLetThroughForLackOfPlaces(t *testing.T) {
	testutil.Privileged(t)
	pardoned, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 8, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pardoned.Close()
	log := &testutil.Buffer{}
	logger := slog.New(slog.NewJSONHandler(log, nil))
	judge := &verdict.Judge{Report: report.New(logger, "", nil), Log: logger}
	d := &Detector{Env: detector.Env{Judge: judge, Log: logger}, shared: map[string]*ebpf.Map{bpfMapPardoned: pardoned}}
	pending := d.newUndecided()
	release := make(chan struct{})
	for pending.Go("", func() { <-release }) {
	}
	e := event{Event: verdict.Event{Outcome: verdict.OutcomeUnknownContainer}}
	e.PID, e.raw.Refused, e.raw.Act, e.raw.Reason, e.raw.Cookie = 1<<22, 1, uint32(bpfActACT_KILL), uint32(bpfReasonBECAUSE_STRATUM), 7
	d.handle(t.Context(), e, &policy{settings: Defaults()}, pending)
	close(release)
	pending.Wait()
	if all := verdicts(log); len(all) != 1 || all[0]["action"] != "refused" {
		t.Error(all)
	}
	var value uint32
	if err := pardoned.Lookup(uint64(7), &value); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("the connection is let through: %v", err)
	}
}

// What is sent late by a process in a container that the runtime does not know has a line for the process.
func TestWhatIsKeptBackIsCountedWithoutARuntime(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{
		Options: detectortest.Options{Exemptions: exempt.Rules{Namespaces: []string{"kube-system"}}, Containers: &lateRuntime{}},
		cgroup:  podCgroup,
	})
	s := newSink(t, "tcp4", "127.0.0.1:0")
	cmd, _ := b.start(order{Address: s.Addr().String(), Sends: sends(login), More: true, Stay: testutil.Patience(2 * time.Second)})
	if signal, status := ended(cmd); signal != 0 || status != exitDone || s.text() != "" {
		t.Errorf("killed by %v, status %d, %q arrives", signal, status, s.text())
	}
	if all := verdicts(&b.log); len(all) != 1 || all[0]["action"] != "refused" || all[0]["pid"] != float64(cmd.Process.Pid) {
		t.Error(all)
	}
	if counts := b.d.tallies[bpfReasonBECAUSE_STRATUM].Counts(); counts != (verdict.Counts{verdict.Refused: 1}) {
		t.Errorf("counted %v", counts)
	}
}

// While sockets are listed, there can be a new policy, and each list goes by the one before.
func TestAReloadDoesNotWaitForAList(t *testing.T) {
	b := newBed(t, bedOptions{lists: lists{addresses: prefixes("127.9.9.9/32")}})
	b.run(exec.Command("sleep", "60"))
	first := newSink(t, "tcp4", "127.0.0.1:0") // at least one socket
	reloads := 0
	reload := func() {
		if reloads++; reloads > 1 {
			return
		}
		if err := b.d.apply(detector.Policy{}, Defaults(), lists{addresses: prefixes("127.9.9.8/32")}); err != nil {
			t.Error(err)
		}
	}
	done := make(chan error, 1)
	go func() {
		_, _, err := b.d.olderConnections(reload)
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil || reloads == 0 {
			t.Error(err, reloads)
		}
	case <-time.After(testutil.Patience(20 * time.Second)):
		t.Fatal("a reload waits for the list, of " + first.Addr().String())
	}
}
