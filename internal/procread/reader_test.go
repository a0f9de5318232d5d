package procread

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestAnArgumentAreaOfSixMebibytesIsReadWhole(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &old); err != nil {
		t.Fatal(err)
	}
	// An exec accepts arguments up to a quarter of the stack limit.
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
	got := read(t, testutil.Start(t, exec.Command("sleep", args...)).Process.Pid)
	if want := "sleep\x00" + strings.Join(args, "\x00") + "\x00"; string(got.Args) != want || got.Truncated {
		t.Errorf("got %d bytes, want %d", len(got.Args), len(want))
	}
}

func TestReadingIsBounded(t *testing.T) {
	cmd := testutil.Start(t, exec.Command(testutil.BuildC(t, "test/victims/huge_cmdline.c")))
	var got process.Info
	testutil.Eventually(t, "the huge argument area", func() bool {
		got = read(t, cmd.Process.Pid)
		return got.Truncated
	})
	if len(got.Args) != maxTitle || !got.Rewritten {
		t.Errorf("got %d bytes, rewritten: %v", len(got.Args), got.Rewritten)
	}
}

func TestAnExecWhileReadingDoesNotMixTwoPrograms(t *testing.T) {
	program := testutil.BuildC(t, "test/victims/exec_turns.c", "-static")
	other := program + "2"
	if err := os.Link(program, other); err != nil {
		t.Fatal(err)
	}
	h := handle(t, testutil.Start(t, exec.Command(program, other)).Process.Pid)
	r := newReader(t)
	empty, whole := 0, 0
	for range testutil.Thorough(2000) {
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
	// During an exec there are no arguments. Without retries this affects every 20th read.
	if whole == 0 || empty > whole/100 {
		t.Errorf("%d reads returned arguments, %d none", whole, empty)
	}
}
