package tcpflowkiller

import (
	"errors"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/testutil"
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
