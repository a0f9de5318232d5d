package escalate

import (
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// note counts a kill that no limit has counted.
func (b *bed) note(t *testing.T, of *exec.Cmd) {
	t.Helper()
	limit := b.env.Judge.Limit
	s := *b.settings.Load()
	if err := limit.Apply(killlimit.Limits{Counted: s.Counted(), Cooldown: time.Hour}); err != nil {
		t.Fatal(err)
	}
	b.kills(t, 1, of)
	if err := limit.Apply(killlimit.Limits{Counted: s.Counted(), PerMinute: 2 * containerKills, Cooldown: time.Hour}); err != nil {
		t.Fatal(err)
	}
}

func TestASessionIsEndedOnlyIfAskedFor(t *testing.T) {
	testutil.Privileged(t)
	for _, c := range []struct {
		path     string
		sessions bool
		ended    bool
	}{
		{"/user.slice/user-54321.slice/session-7.scope", true, true},
		{"/user.slice/user-54321.slice/user@54321.service", true, true},
		{"/user.slice/user-54321.slice/session-7.scope", false, false},
		{"/user.slice/user-0.slice/session-54321.scope", true, false},
		{"/user.slice/user-54321.slice/other.service", true, false},
		{"/system.slice/a.service/session-7.scope", true, false},
	} {
		t.Run(fmt.Sprint(c.path[1:], c.sessions), func(t *testing.T) {
			s := both
			s.Sessions = c.sessions
			b := run(t, s, detectortest.Options{})
			dir := testutil.MakeCgroup(t, c.path)
			// root begins it, as sshd does
			first, nested := testutil.SleepIn(t, dir), testutil.StartIn(t, testutil.MakeCgroup(t, c.path+"/app.slice"),
				exec.Command("setpriv", "--reuid=54321", "--clear-groups", "sleep", "600"))
			testutil.Eventually(t, "the user's process", func() bool {
				info, _, err := process.Describe(nested.Process.Pid)
				return err == nil && info.UID == 54321
			})
			b.kills(t, containerKills, nested)
			if !c.ended {
				b.quiet(t)
				lives(t, first, nested)
				return
			}
			died(t, first, nested)
			if l := b.line(t); l.Msg != "killed a session" || l.Source != "session" || l.UID != 54321 || l.PID != nested.Process.Pid {
				t.Errorf("%+v", l)
			}
		})
	}
}

// A process that has ended is listed until its parent or its tracer waits for it.
func TestASessionIsEndedThoughItsOldestProcessHasEnded(t *testing.T) {
	testutil.Privileged(t)
	s := both
	s.Sessions = true
	b := run(t, s, detectortest.Options{})
	dir := testutil.MakeCgroup(t, "/user.slice/user-54321.slice/session-7.scope")
	first := testutil.SleepIn(t, dir) // root begins it, as sshd does
	start := func() *exec.Cmd {
		time.Sleep(2 * process.ClockTick)
		cmd := testutil.StartIn(t, dir, exec.Command("setpriv", "--reuid=54321", "--clear-groups", "sleep", "600"))
		testutil.Eventually(t, "the user's process", func() bool {
			info, _, err := process.Describe(cmd.Process.Pid)
			return err == nil && info.UID == 54321
		})
		return cmd
	}
	oldest := start()
	if err := oldest.Process.Kill(); err != nil { // the test does not wait for it yet
		t.Fatal(err)
	}
	died(t, oldest)
	next := start()
	b.kills(t, containerKills, next)
	if l := b.line(t); l.Msg != "killed a session" || l.PID != next.Process.Pid || l.UID != 54321 {
		t.Errorf("%+v", l)
	}
	died(t, first, next)
}

// The first process of a container can be a zombie too, without a PID namespace.
func TestAContainerIsEndedThoughItsFirstProcessHasEnded(t *testing.T) {
	testutil.Privileged(t)
	b := run(t, both, detectortest.Options{})
	dir := testutil.MakeCgroup(t, "/docker/"+newID())
	first := testutil.SleepIn(t, dir)
	time.Sleep(2 * process.ClockTick)
	next := testutil.SleepIn(t, dir)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	died(t, first)
	b.kills(t, containerKills, next)
	if l := b.line(t); l.Msg != "killed a container" || l.PID != next.Process.Pid {
		t.Errorf("%+v", l)
	}
	died(t, next)
}

// A process whose read always fails does not keep others from standing in, or from being ended.
func TestAStepIsTakenThoughAProcessCannotBeRead(t *testing.T) {
	testutil.Privileged(t)
	for step, want := range map[string]string{stepContainer: "killed a container", stepParent: "killed a parent process"} {
		t.Run(step, func(t *testing.T) {
			b := run(t, Settings{Container: rules.Kill, ContainerKills: 1000, Within: time.Hour},
				detectortest.Options{Exemptions: exempt.Rules{Programs: []string{"/bin/none"}}})
			closed := procread.NewReader(b.env.Log)
			if err := closed.Close(); err != nil { // its reads fail
				t.Fatal(err)
			}
			b.env.Judge.Reader = closed
			dir := testutil.MakeCgroup(t, "/docker/"+newID())
			first, unread, next := testutil.SleepIn(t, dir), testutil.SleepIn(t, dir), testutil.SleepIn(t, dir)
			for _, parent := range []*exec.Cmd{unread, next} {
				for range again {
					p := b.locate(t, next.Process.Pid)
					b.fakes++
					p.PID, p.PPID = 1<<22+b.fakes, parent.Process.Pid
					b.kill(t, p)
				}
			}
			key := b.locate(t, next.Process.Pid).Cgroup.Key()
			all, err := b.env.Judge.Limit.Kills()
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(all, func(k killlimit.Kills) bool { return k.Cgroup == key })
			if at < 0 {
				t.Fatalf("no kills in %v", all)
			}
			take := func(readable *exec.Cmd) (bool, error) {
				return b.take(t.Context(), &Settings{}, step, rules.Kill, all[at], func() ([]process.Event, error) {
					all, err := b.env.Inventory.Processes()
					for i := range all {
						// The programs of others are not exempt, so their arguments are not read.
						all[i].HostRoot = readable == nil || all[i].PID != readable.Process.Pid
					}
					return all, err
				})
			}
			if done, err := take(nil); done || err == nil {
				t.Errorf("nothing can be read: %v, %v", done, err)
			}
			lives(t, first, unread, next)
			if done, err := take(next); !done || err != nil {
				t.Fatalf("not taken: %v, %v", done, err)
			}
			if l := b.line(t); l.Msg != want || l.PID != next.Process.Pid {
				t.Errorf("%+v", l)
			}
			died(t, next)
		})
	}
}
