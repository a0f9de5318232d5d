package process

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.RunWithoutLeaks(m)) }

// handle opens a handle and closes it at the end of the test.
func handle(t *testing.T, pid int) *Handle {
	t.Helper()
	h, err := Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestTheListHasAllProcessesAndNoThreads(t *testing.T) {
	child := testutil.Sleeper(t).Process.Pid
	pids, err := List()
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{1, os.Getpid(), child} {
		if !slices.Contains(pids, pid) {
			t.Errorf("%d is missing", pid)
		}
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads (%v)", len(threads), err)
	}
	for _, pid := range pids {
		if _, err := os.Stat(filepath.Join("/proc/self/task", strconv.Itoa(pid))); err == nil && pid != os.Getpid() {
			t.Errorf("%d is a thread of this process", pid)
		}
	}
}
