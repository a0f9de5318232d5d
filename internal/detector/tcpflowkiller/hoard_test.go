package tcpflowkiller

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// hoarders are processes that have a socket under as many descriptors as a process may have anywhere. In
// containers it may be 50 times as many.
const hoarders, hoarded = 12, 15_000

// hoard has a socket under many descriptors.
func hoard(part) {
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: hoarded + 100, Max: 20_000}))
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	must(err)
	for range hoarded {
		_, err := unix.Dup(s)
		must(err)
	}
	fmt.Println("ready")
	time.Sleep(testutil.Patience(time.Minute))
}

// A user with very many descriptors takes no memory from the agent, which lists the sockets of all
// processes for data that the kernel sends later.
func TestManyDescriptorsTakeNoMemory(t *testing.T) {
	b := newBed(t, bedOptions{})
	those := make(map[int]bool)
	for range hoarders {
		cmd, out := b.startPart(b.cgroup, part{Name: "hoards"})
		if line, err := out.ReadString('\n'); line != "ready\n" {
			t.Fatal(line, err)
		}
		those[cmd.Process.Pid] = true
	}
	found := 0
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := findSockets(b.d.objs.ListSockets, func(who process.Instance, _ *bpfListedSocket) (bool, error) {
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
