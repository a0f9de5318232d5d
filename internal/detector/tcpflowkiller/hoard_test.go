package tcpflowkiller

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// hoarders are processes that have a socket under as many descriptors as a process may have anywhere. In
// containers it may be 50 times as many.
const hoarders, hoarded = 12, 15_000

// nullTables are tables of descriptors of /dev/null: with them, the kernel reads a million descriptors at once
// and finds no socket among them.
const nullTables = 140

// hoard has a socket under many descriptors, or the file p.Path in many tables.
func hoard(p part) {
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: hoarded + 100, Max: 20_000}))
	var what int
	var err error
	if p.Path == "" {
		what, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	} else {
		what, err = unix.Open(p.Path, unix.O_RDONLY, 0)
	}
	must(err)
	for range hoarded {
		_, err := unix.Dup(what)
		must(err)
	}
	if p.Path != "" {
		var all sync.WaitGroup
		for range nullTables {
			all.Add(1)
			go func() {
				runtime.LockOSThread()
				must(unix.Unshare(unix.CLONE_FILES)) // the thread has a table of its own
				all.Done()
				select {}
			}()
		}
		all.Wait()
	}
	fmt.Println("ready")
	time.Sleep(testutil.Patience(time.Minute))
}

// hoards starts n processes that hoard, and returns their pids.
func (b *bed) hoards(n int, p part) map[int]bool {
	b.t.Helper()
	those := make(map[int]bool)
	for range n {
		cmd, out := b.startPart(b.cgroup, p)
		if line, err := out.ReadString('\n'); line != "ready\n" {
			b.t.Fatal(line, err)
		}
		those[cmd.Process.Pid] = true
	}
	return those
}

// A user with very many descriptors takes no memory from the agent, which lists the sockets of all
// processes for data that the kernel sends later.
func TestManyDescriptorsTakeNoMemory(t *testing.T) {
	b := newBed(t, bedOptions{})
	those := b.hoards(hoarders, part{Name: "hoards"})
	found := 0
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := findSockets(b.d.objs.ListSockets, nil, func(who process.Instance, _ *bpfListedSocket) (bool, error) {
		if those[who.PID] {
			found++
		}
		return false, nil
	})
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; err != nil || found < hoarders*hoarded || took > 8<<20 {
		t.Errorf("%d descriptors take %d KiB: %v", found, took>>10, err)
	}
}

// Nor does it hide the sockets of processes that have started later: the kernel lists by pid.
func TestManyDescriptorsHideNoSocket(t *testing.T) {
	b := newBed(t, bedOptions{})
	b.hoards(1, part{Name: "hoards", Path: os.DevNull})
	s := newSink(t, "tcp4", "127.0.0.1:0")
	later, _ := b.start(order{Address: s.Addr().String(), Sends: sends("x"), Stay: time.Minute})
	testutil.Eventually(t, "the connection", func() bool { return s.connections() == 1 })
	began := time.Now()
	found, err := findSockets(b.d.objs.ListSockets, nil, func(who process.Instance, l *bpfListedSocket) (bool, error) {
		return who.PID == later.Process.Pid && l.Peer.Port != 0, nil
	})
	if err != nil || len(found) != 1 {
		t.Errorf("%d sockets found: %v", len(found), err)
	}
	t.Logf("%d descriptors are listed in %v", nullTables*hoarded, time.Since(began))
}
