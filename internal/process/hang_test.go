package process

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// hanging starts a process whose command line cannot be read, and waits until it is so.
func hanging(t *testing.T, program string) (*exec.Cmd, *Handle) {
	t.Helper()
	cmd := start(t, exec.Command(program))
	h := handle(t, cmd.Process.Pid)
	r := newReader(t)
	eventually(t, "a read that hangs", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := r.Read(ctx, h, "")
		return errors.Is(err, ErrStuck)
	})
	return cmd, h
}

func TestAProcessThatHangsItsReaderIsKilled(t *testing.T) {
	testutil.Privileged(t)
	program := testutil.BuildC(t, "test/victims/hang_cmdline.c")
	cmd, h := hanging(t, program)
	r := newReader(t)
	got, err := r.Read(t.Context(), h, "")
	if !errors.Is(err, ErrStuck) {
		t.Errorf("reading: %v", err)
	}
	if got.Program != program || got.PID != cmd.Process.Pid || got.Args != nil {
		t.Errorf("got %+v", got)
	}
	if n := r.Stats().TimedOut; n != 1 {
		t.Errorf("%d reads timed out, want 1", n)
	}
	if info, err := r.Read(t.Context(), handle(t, sleeper(t).Process.Pid), ""); err != nil || len(info.Args) == 0 {
		t.Errorf("another process: %+v, %v", info, err)
	}
	eventually(t, "the end of the child that hung", func() bool { return r.Stats().LeftBehind == 0 })
	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	if sig := diedOf(cmd); sig != syscall.SIGKILL {
		t.Errorf("died of %v", sig)
	}
}
