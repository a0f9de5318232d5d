package execwhacker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// of returns a group of one process of an owner.
func of(owner string, who process.Who) group {
	s := suspect{Event: process.Event{Who: who, Cgroup: cgroup.Cgroup{Owner: owner}}}
	return group{s}
}

func TestAnOwnerWithManyGroupsHasOneWorker(t *testing.T) {
	var todo []group
	for i := range 100 {
		todo = append(todo, of("attacker", process.Who{PID: i + 1}))
	}
	others := 3 * maxJudges
	for i := range others {
		todo = append(todo, of(fmt.Sprint(i), process.Who{PID: 1000 + i}))
	}
	var mine, now, done atomic.Int32
	var judged sync.WaitGroup
	judged.Add(others)
	var once sync.Once
	turns := newTurns()
	turns.each(todo, func(owner string, groups []group) {
		for range groups {
			turns.judges.Do(func() {
				if n := now.Add(1); n > maxJudges {
					t.Errorf("%d groups are judged at once", n)
				}
				defer now.Add(-1)
				defer done.Add(1)
				if owner != "attacker" {
					judged.Done()
					return
				}
				if n := mine.Add(1); n > 1 {
					t.Errorf("%d groups of one owner are judged at once", n)
				}
				defer mine.Add(-1)
				once.Do(judged.Wait) // hangs until all others are judged
			})
		}
	})
	if n := int(done.Load()); n != len(todo) {
		t.Errorf("%d of %d groups were judged", n, len(todo))
	}
}

// When the last process of a list is killed, reads of the others, which hang and are of another owner, have
// hardly begun.
func TestAScanDoesNotWaitForProcessesOfAnotherOwnerThatHang(t *testing.T) {
	testutil.Privileged(t)
	const word, n = "execwhackerturnstestword", 24
	var out testutil.Buffer
	env := detectortest.Env(t, detectortest.Options{Log: slog.New(slog.NewJSONHandler(&out, nil))})
	hang := testutil.BuildC(t, "test/victims/hang_cmdline.c")
	var todo []group
	add := func(owner string, cmd *exec.Cmd) process.Who {
		who, err := process.Identify(testutil.Start(t, cmd).Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		todo = append(todo, of(owner, who))
		return who
	}
	for i := range n {
		h, err := add("attacker", exec.Command(hang)).Open()
		if err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, "a read that hangs", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			_, err := env.Judge.Reader.Read(ctx, h, fmt.Sprint(i))
			return errors.Is(err, procread.ErrStuck)
		})
		h.Close()
	}
	banned := exec.Command("/bin/sh", "-c", "read -r line", "sh", word)
	stdin, err := banned.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	add("other", banned)
	p := banning(t, word)
	s := scanner{judge: &judge{Judge: env.Judge}, tally: new(tally), list: func() ([]suspect, error) {
		var all []suspect
		for _, g := range todo {
			all = append(all, g...)
		}
		return all, nil
	}}
	if err := s.scan(t.Context(), &p, 0, policyChanged); err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(out.String(), `"msg":"killed a process"`)
	if !found {
		t.Fatalf("not killed: %s", before)
	}
	if hung := strings.Count(before, "process not judged"); hung > 2 {
		t.Errorf("it was killed after %d reads that hung", hung)
	}
	if hung := strings.Count(out.String(), "process not judged"); hung != n {
		t.Errorf("%d reads hung, want %d", hung, n)
	}
}
