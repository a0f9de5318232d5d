package procread

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestEachStrikeHalvesThePatienceUntilItExpires(t *testing.T) {
	now := time.Now()
	o := &owner{name: "attacker"}
	for i, want := range []time.Duration{1000, 500, 250, 125, 62, 31, 15, 10, 10, 10} {
		if got := o.patience(now).Truncate(time.Millisecond); got != want*time.Millisecond {
			t.Errorf("after %d strikes %v, want %vms", i, got, int(want))
		}
		o.strike(instance{pid: i}, time.Millisecond, now)
	}
	for _, c := range []struct{ after, want time.Duration }{
		{strikeLifetime - 1, minPatience},
		{strikeLifetime, maxPatience >> 6},
		{3 * strikeLifetime, maxPatience >> 4},
		{7 * strikeLifetime, maxPatience},
		{time.Hour, maxPatience},
	} {
		if got := o.patience(now.Add(c.after)); got != c.want {
			t.Errorf("after %v: %v, want %v", c.after, got, c.want)
		}
	}
	if !o.removable(now.Add(time.Hour)) || len(o.resting) == 0 {
		t.Errorf("%+v", o)
	}
}

func TestAProcessThatTimedOutRestsForAWhile(t *testing.T) {
	now := time.Now()
	var o owner
	who := instance{pid: 1, start: 2}
	o.strike(who, time.Second, now)
	if !o.rests(who, now.Add(3*time.Second)) || o.rests(who, now.Add(5*time.Second)) || o.rests(instance{pid: 1, start: 3}, now) {
		t.Error("the wrong process rests, or for the wrong time")
	}
	for pid := range 100_000 {
		o.strike(instance{pid: pid}, time.Hour, now)
	}
	if len(o.resting) > maxResting {
		t.Errorf("%d resting processes are recorded", len(o.resting))
	}
}

func TestOwnersAreRemoved(t *testing.T) {
	r := newReader(t)
	h := handle(t, testutil.Sleeper(t).Process.Pid)
	for i := range 100 {
		if _, err := r.Read(t.Context(), h, strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	p := r.pool
	p.mu.Lock()
	known := len(p.owners)
	for i := range 2 * maxOwners { // with strikes
		o := &owner{name: strconv.Itoa(i)}
		o.strike(instance{pid: i}, time.Second, time.Now())
		p.owners[o.name] = o
	}
	p.mu.Unlock()
	if known != 0 {
		t.Errorf("%d owners without strikes are kept", known)
	}
	p.cleanUp(time.Now())
	if n := len(p.owners); n > maxOwners {
		t.Errorf("%d owners are kept", n)
	}
	p.cleanUp(time.Now().Add(time.Hour))
	if n := len(p.owners); n != 0 {
		t.Errorf("%d owners are kept forever", n)
	}
}

func TestLargeArgumentsAreReadInBoundedMemory(t *testing.T) {
	program := testutil.BuildC(t, "test/victims/huge_cmdline.c")
	var handles []*process.Handle
	for range testutil.Thorough(100) {
		cmd := testutil.Start(t, exec.Command(program, strconv.Itoa(MaxArgsBytes>>20)))
		handles = append(handles, handle(t, cmd.Process.Pid))
	}
	r := newReader(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	for i, h := range handles {
		all.Go(func() {
			for {
				info, err := r.Read(t.Context(), h, strconv.Itoa(i))
				if errors.Is(err, process.ErrGone) || err == nil && len(info.Args) == MaxArgsBytes {
					return
				} else if err == nil && len(info.Args) > 1<<20 || err != nil && !errors.Is(err, ErrStuck) {
					t.Errorf("%d bytes, %v", len(info.Args), err)
					return
				}
			}
		})
	}
	all.Wait()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 100<<20 {
		t.Errorf("%d MiB more", grown>>20)
	}
	for _, c := range r.pool.idle {
		status, err := os.ReadFile(process.Dir(c.pid) + "/status")
		if err != nil {
			t.Fatal(err)
		}
		_, line, _ := strings.Cut(string(status), "\nRssAnon:")
		if kb, err := strconv.Atoi(strings.Fields(line)[0]); err != nil || kb > 32<<10 {
			t.Errorf("a child has %d kB of anonymous memory, %v", kb, err)
		}
	}
}
