package procread

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// readMany calls ReadMany and returns the results by index.
func readMany(t *testing.T, r *Reader, owner string, of ...Want) (map[int]string, error) {
	t.Helper()
	got := make(map[int]string)
	last := -1
	err := r.ReadMany(t.Context(), owner, of, func(i int, b Brief) {
		if i <= last {
			t.Errorf("%d is visited after %d", i, last)
		}
		last = i
		got[i] = string(b.Program) + "|" + string(b.Args)
		if b.Gone {
			got[i] = "gone"
		}
	})
	return got, err
}

func TestReadManySkipsProcessesThatItCannotReadCompletely(t *testing.T) {
	program, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("0", maxBrief-len("sleep\x00\x00")-3)
	var of []Want
	var want []string
	for _, c := range []struct {
		program bool
		args    []string
		want    string
	}{
		{false, []string{"600"}, "|sleep\x00600\x00"},
		{true, []string{"601"}, program + "|sleep\x00601\x00"},
		{false, []string{long + "600"}, "|sleep\x00" + long + "600\x00"},
		{false, []string{long + "0600"}, ""}, // a byte too long
	} {
		cmd := testutil.Start(t, exec.Command("sleep", c.args...))
		of = append(of, Want{PID: cmd.Process.Pid, Program: c.program})
		want = append(want, c.want)
	}
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	of, want = append(of, Want{PID: ended.Process.Pid, Program: true}, Want{PID: ended.Process.Pid}), append(want, "", "gone")
	got, err := readMany(t, newReader(t), "", of...)
	if err != nil {
		t.Error(err)
	}
	for i, w := range want {
		if got[i] != w {
			t.Errorf("process %d: %.100q, want %.100q", i, got[i], w)
		}
	}
	if _, err := readMany(t, newReader(t), "", make([]Want, MaxMany+1)...); err == nil {
		t.Error("more than MaxMany are accepted")
	}
}

func TestALargeAnswerIsSplitIntoFrames(t *testing.T) {
	cmd := testutil.Start(t, exec.Command("sleep", strings.Repeat("0", maxBrief-100)+"600"))
	of := make([]Want, MaxMany)
	for i := range of {
		of[i] = Want{PID: cmd.Process.Pid, Program: true}
	}
	got, err := readMany(t, newReader(t), "", of...)
	if err != nil || len(got) != MaxMany || len(got[MaxMany-1]) < maxBrief-100 || got[0] != got[MaxMany-1] {
		t.Errorf("%d are read, %v", len(got), err)
	}
}

func TestAHangingProcessInABatchDoesNotBlockTheOthers(t *testing.T) {
	testutil.Privileged(t)
	cmds, _ := hanging(t, 1)
	readable := testutil.Sleeper(t)
	of := []Want{{PID: readable.Process.Pid}, {PID: cmds[0].Process.Pid}, {PID: readable.Process.Pid}}
	r := newReader(t)
	for range maxBatchTimeouts {
		if _, err := readMany(t, r, "attacker", of...); !errors.Is(err, ErrStuck) {
			t.Errorf("reading many: %v", err)
		}
	}
	if s := r.Stats(); s.TimedOut != 0 {
		t.Errorf("a timeout of ReadMany counts as one of a process: %+v", s)
	}
	// From now on, processes of its owner are read one by one.
	if got, err := readMany(t, r, "attacker", of[0]); !errors.Is(err, ErrStuck) || len(got) > 0 {
		t.Errorf("again: %v, %v", got, err)
	}
	if info, err := r.Read(t.Context(), handle(t, readable.Process.Pid), "attacker"); err != nil || string(info.Args) != "sleep\x00600\x00" {
		t.Errorf("on its own: %+v, %v", info, err)
	}
	if got, err := readMany(t, r, "other", of[0]); err != nil || got[0] != "|sleep\x00600\x00" {
		t.Errorf("of another owner: %v, %v", got, err)
	}
}

func TestAChildThatDiesDuringReadManyIsAnError(t *testing.T) {
	r := newReader(t)
	want := Want{PID: testutil.Sleeper(t).Process.Pid}
	if _, err := readMany(t, r, "", want); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(childOf(r), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got, err := readMany(t, r, "", want); err == nil || len(got) > 0 {
		t.Errorf("got %v, %v", got, err)
	}
	got, err := readMany(t, r, "", want)
	for end := time.Now().Add(testutil.Patience(5 * time.Second)); errors.Is(err, ErrStuck) && time.Now().Before(end); {
		got, err = readMany(t, r, "", want) // on a busy machine the start of a child takes more than its second
	}
	if err != nil || got[0] == "" {
		t.Errorf("afterwards: %v, %v", got, err)
	}
}
