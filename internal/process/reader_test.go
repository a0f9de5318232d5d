package process

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"golang.org/x/sys/unix"
)

func TestAnArgumentAreaOfSixMebibytesIsReadWhole(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &old); err != nil {
		t.Fatal(err)
	}
	// An exec takes as many arguments as fit a quarter of the stack.
	if err := unix.Setrlimit(unix.RLIMIT_STACK, &unix.Rlimit{Cur: 64 << 20, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_STACK, &old); err != nil {
			t.Error(err)
		}
	}()
	args := slices.Repeat([]string{strings.Repeat("0", 120_000)}, 50)
	args[49] = strings.Repeat("0", 100_000) + "600"
	got := read(t, start(t, exec.Command("sleep", args...)).Process.Pid)
	if want := "sleep\x00" + strings.Join(args, "\x00") + "\x00"; string(got.Args) != want || got.Truncated {
		t.Errorf("got %d bytes, want %d", len(got.Args), len(want))
	}
}

func TestReadingIsBounded(t *testing.T) {
	cmd := start(t, exec.Command(testutil.BuildC(t, "test/victims/huge_cmdline.c")))
	var got Info
	eventually(t, "the huge argument area", func() bool {
		got = read(t, cmd.Process.Pid)
		return got.Truncated
	})
	if len(got.Args) != MaxArgsBytes {
		t.Errorf("got %d bytes", len(got.Args))
	}
}

// readWithin reads a process in at most as long a time.
func readWithin(t *testing.T, limit time.Duration, r *Reader, h *Handle) (Info, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return r.Read(ctx, h, "")
}

func TestAProcessThatHangsItsReaderIsKilled(t *testing.T) {
	testutil.Privileged(t)
	program := testutil.BuildC(t, "test/victims/hang_cmdline.c")
	cmd := start(t, exec.Command(program))
	h := handle(t, cmd.Process.Pid)
	r := newReader(t)
	var got Info
	var took time.Duration
	eventually(t, "a read that hangs", func() bool {
		began := time.Now()
		var err error
		got, err = r.Read(t.Context(), h, "")
		took = time.Since(began)
		return errors.Is(err, ErrStuck)
	})
	if took < argsTimeout || took > 3*argsTimeout {
		t.Errorf("gave up after %v", took)
	}
	if got.Program != program || got.PID != cmd.Process.Pid || got.Args != nil {
		t.Errorf("got %+v", got)
	}
	began := time.Now()
	if _, err := r.Read(t.Context(), h, ""); !errors.Is(err, ErrStuck) || time.Since(began) > argsTimeout/2 {
		t.Errorf("the second time: %v after %v", err, time.Since(began))
	}
	if n := r.Stuck(); n != 1 {
		t.Errorf("%d reads are stuck, want 1", n)
	}
	if info, err := r.Read(t.Context(), handle(t, sleeper(t).Process.Pid), ""); err != nil || len(info.Args) == 0 {
		t.Errorf("another process: %+v, %v", info, err)
	}

	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	if sig := diedOf(cmd); sig != syscall.SIGKILL {
		t.Errorf("died of %v", sig)
	}
	eventually(t, "the end of the read", func() bool { return r.Stuck() == 0 })
}

func TestManyHangingProcessesTakeFewThreads(t *testing.T) {
	testutil.Privileged(t)
	program := testutil.BuildC(t, "test/victims/hang_cmdline.c")
	r := newReader(t)
	var cmds []*exec.Cmd
	for range maxStuck + 2 {
		cmd := start(t, exec.Command(program))
		cmds = append(cmds, cmd)
		h := handle(t, cmd.Process.Pid)
		eventually(t, "a read that hangs", func() bool {
			_, err := readWithin(t, 50*time.Millisecond, r, h)
			return errors.Is(err, ErrStuck)
		})
	}
	if n := r.Stuck(); n != maxStuck {
		t.Errorf("%d reads are stuck, want %d", n, maxStuck)
	}
	honest := handle(t, sleeper(t).Process.Pid)
	info, err := r.Read(t.Context(), honest, "")
	if !errors.Is(err, ErrStuck) || info.Comm != "sleep" || info.Program == "" {
		t.Errorf("an honest process meanwhile: %+v, %v", info, err)
	}
	end(t, cmds[0])
	eventually(t, "a free place", func() bool {
		info, err = r.Read(t.Context(), honest, "")
		return err == nil
	})
	if string(info.Args) != "sleep\x00600\x00" {
		t.Errorf("got arguments %q", info.Args)
	}
	for _, cmd := range cmds {
		_ = cmd.Process.Kill()
	}
	eventually(t, "the end of all reads", func() bool { return r.Stuck() == 0 })
}

func TestAnExecWhileReadingDoesNotMixTwoPrograms(t *testing.T) {
	program := testutil.BuildC(t, "test/victims/exec_turns.c", "-static")
	other := program + "2"
	if err := os.Link(program, other); err != nil {
		t.Fatal(err)
	}
	h := handle(t, start(t, exec.Command(program, other)).Process.Pid)
	r := newReader(t)
	empty, whole := 0, 0
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		info, err := r.Read(t.Context(), h, "")
		switch {
		case err != nil:
		case len(info.Args) == 0:
			empty++
		case bytes.HasPrefix(info.Args, []byte(info.Program+"\x00")):
			whole++
		default:
			t.Fatalf("program %s, arguments %q", info.Program, info.Args)
		}
	}
	// Between two programs there are no arguments, which lasts for every 20th
	// read where none is repeated.
	if whole == 0 || empty > whole/100 {
		t.Errorf("%d reads gave all, %d no arguments", whole, empty)
	}
}
