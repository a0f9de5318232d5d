package hashwork

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// computeVariable makes a test program compute for some CPU time.
const computeVariable = "HASHWORK_COMPUTE"

// compute computes for eight seconds, if the variable says so, and ends the program.
func compute() {
	if os.Getenv(computeVariable) == "" {
		return
	}
	x := uint64(1)
	for used() < 8*time.Second {
		for range 1 << 24 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
	}
	os.Exit(int(x & 1 >> 1))
}

// used returns the CPU time of this process.
func used() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The agent and its readers have the words of miners in their file: the rules are in it. So have
// these tests. Only another file with them is a miner's.
func TestTheAgentsOwnProgramLives(t *testing.T) {
	testutil.Privileged(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t, nil)
	start := func(program string) *exec.Cmd {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), computeVariable+"=1")
		return testutil.Start(t, cmd)
	}
	if err := start(program).Wait(); err != nil {
		t.Errorf("%v: %s", err, b.log.String())
	}
	b.dies(start(copyOf(t, program, t.TempDir())), programRule)
}
