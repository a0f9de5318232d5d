package procread

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// hanging starts processes whose command line cannot be read, and waits until reads hang.
func hanging(t *testing.T, n int) ([]*exec.Cmd, []*process.Handle) {
	t.Helper()
	program := testutil.BuildC(t, "test/victims/hang_cmdline.c")
	var cmds []*exec.Cmd
	var handles []*process.Handle
	for range n {
		cmd := testutil.Start(t, exec.Command(program))
		cmds = append(cmds, cmd)
		handles = append(handles, handle(t, cmd.Process.Pid))
	}
	r := newReader(t)
	for i, h := range handles {
		testutil.Eventually(t, "a read that hangs", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			_, err := r.Read(ctx, h, strconv.Itoa(i))
			return errors.Is(err, ErrStuck)
		})
	}
	return cmds, handles
}

func TestAProcessWhoseReadHangsCanBeKilled(t *testing.T) {
	testutil.Privileged(t)
	cmds, handles := hanging(t, 1)
	cmd, h := cmds[0], handles[0]
	r := newReader(t)
	got, err := r.Read(t.Context(), h, "")
	if !errors.Is(err, ErrStuck) {
		t.Errorf("reading: %v", err)
	}
	if !strings.HasSuffix(got.Program, "/hang_cmdline") || got.PID != cmd.Process.Pid || got.Args != nil {
		t.Errorf("got %+v", got)
	}
	if n := r.Stats().TimedOut; n != 1 {
		t.Errorf("%d reads timed out, want 1", n)
	}
	if info, err := r.Read(t.Context(), handle(t, testutil.Sleeper(t).Process.Pid), ""); err != nil || len(info.Args) == 0 {
		t.Errorf("another process: %+v, %v", info, err)
	}
	testutil.Eventually(t, "the end of the child that hung", func() bool { return r.Stats().LeftBehind == 0 })
	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	if sig := testutil.DiedOf(cmd); sig != syscall.SIGKILL {
		t.Errorf("died of %v", sig)
	}
}

func TestManyHangingProcessesOfOneOwnerDoNotBlockReadsOfOthers(t *testing.T) {
	testutil.Privileged(t)
	n := 9 // 900 take half a minute
	if v := os.Getenv("CRYPTNONO_HANGING"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	_, handles := hanging(t, n)
	readable := handle(t, testutil.Sleeper(t).Process.Pid)
	r := newReader(t)
	ctx, cancel := context.WithCancel(t.Context())
	var hung atomic.Int64
	var readers sync.WaitGroup
	for part := range slices.Chunk(handles, (n+8)/9) {
		readers.Go(func() {
			for _, h := range part {
				if _, err := r.Read(ctx, h, "attacker"); !errors.Is(err, ErrStuck) {
					t.Errorf("reading: %v", err)
				}
				hung.Add(1)
			}
		})
	}
	began, slowest, rounds := time.Now(), time.Duration(0), 0
	for ; hung.Load() < int64(n); rounds++ {
		begin := time.Now()
		info, err := r.Read(t.Context(), readable, "other")
		if err != nil || string(info.Args) != "sleep\x00600\x00" {
			t.Fatalf("a process of another owner: %+v, %v", info, err)
		}
		slowest = max(slowest, time.Since(begin))
		time.Sleep(time.Millisecond)
	}
	t.Logf("%d that hang took %v; %d other reads meanwhile, the slowest %v", n, time.Since(began), rounds, slowest)
	cancel()
	readers.Wait()
}

// Many owners with one hanging process each use all children.
func TestManyOwnersWithHangingProcessesDoNotBlockReadsOfOthers(t *testing.T) {
	testutil.Privileged(t)
	_, handles := hanging(t, 3*maxChildren)
	readable := handle(t, testutil.Sleeper(t).Process.Pid)
	r := newReader(t)
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for i, h := range handles {
		readers.Go(func() {
			for ctx.Err() == nil {
				if _, err := r.Read(ctx, h, strconv.Itoa(i)); !errors.Is(err, ErrStuck) {
					t.Errorf("reading: %v", err)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	slowest := time.Duration(0)
	for range 40 {
		begin := time.Now()
		info, err := r.Read(t.Context(), readable, "other")
		if err != nil || string(info.Args) != "sleep\x00600\x00" {
			t.Errorf("a process of another owner: %+v, %v", info, err)
		}
		slowest = max(slowest, time.Since(begin))
		time.Sleep(time.Millisecond)
	}
	cancel()
	readers.Wait()
	t.Logf("the slowest read took %v; %d timed out", slowest, r.Stats().TimedOut)
}

func TestHangingChildrenEndWithTheirParent(t *testing.T) {
	testutil.Privileged(t)
	cmds, _ := hanging(t, 1)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		endsWithItsParent(t, cmds[0].Process.Pid, signal)
	}
}
