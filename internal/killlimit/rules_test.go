package killlimit

import (
	"bytes"
	"fmt"
	"log/slog"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// inContainer returns a process in a container. Cgroups of containers have ids in a row, as those
// of containers that start one after another.
func inContainer(n int) process.Event {
	return process.Event{Cgroup: cgroup.Cgroup{
		Depth: 2, Levels: []cgroup.Level{{ID: 7}, {ID: 1000 + uint64(n)}},
		Container: cgroup.ContainerRef{ID: fmt.Sprint(n), Level: 1},
	}}
}

func user(uid uint32) process.Event { return process.Event{Who: process.Who{PID: -1, UID: uid}} }

// program returns one of root on the node.
func program(inode uint64) process.Event {
	return process.Event{Who: process.Who{PID: -1, RootOnHost: true}, File: process.FileID{Inode: inode, Device: 5}}
}

type limited struct {
	*Limiter
	t   *testing.T
	log bytes.Buffer
}

func newLimited(t *testing.T, l Limits) *limited {
	x := &limited{t: t}
	x.Limiter = mustLoad(t, l)
	x.Limiter.log = slog.New(slog.NewTextHandler(&x.log, nil))
	return x
}

// takes returns how many victims a rule has among these before it is stopped.
func (l *limited) takes(rule string, victims int, victim func(n int) process.Event) int {
	l.t.Helper()
	killed := 0
	for n := range victims {
		stopped, err := l.Take(Key(rule), rule, victim(n))
		if err != nil {
			l.t.Fatal(err)
		}
		if !stopped {
			killed++
		}
	}
	return killed
}

func (l *limited) isLogged(want ...string) {
	l.t.Helper()
	l.log.Reset()
	if err := l.logStops(); err != nil {
		l.t.Fatal(err)
	}
	for _, w := range want {
		if !strings.Contains(l.log.String(), w) {
			l.t.Errorf("%q is not in the log: %s", w, &l.log)
		}
	}
	if len(want) == 0 && l.log.Len() != 0 {
		l.t.Errorf("logged: %s", &l.log)
	}
}

func TestARuleThatHitsManyVictimsIsStopped(t *testing.T) {
	for name, victim := range map[string]func(int) process.Event{
		"containers":       inContainer,
		"users":            func(n int) process.Event { return user(1000 + uint32(n)) },
		"programs of root": func(n int) process.Event { return program(4000 + uint64(n)) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimited(t, Limits{Victims: 10, Cooldown: time.Minute})
			// Two may share a slot.
			if n := l.takes("wrong", 20, victim); n < 10 || n > 15 {
				t.Errorf("%d of 20 were killed", n)
			}
			if n := l.takes("right", 5, victim); n != 5 {
				t.Errorf("%d of 5 were killed by another rule", n)
			}
			if names, err := l.Stopped(); err != nil || !slices.Equal(names, []string{"wrong"}) {
				t.Errorf("stopped: %q, %v", names, err)
			}
			if !l.IsStopped(Key("wrong")) || l.IsStopped(Key("right")) || l.IsStopped(Key("none")) {
				t.Error("IsStopped is not right")
			}
			l.isLogged("level=WARN", "rule=wrong")
			l.isLogged()
			if err := l.Reset(); err != nil {
				t.Fatal(err)
			}
			if n := l.takes("wrong", 5, victim); n != 5 {
				t.Errorf("%d of 5 were killed after a reset", n)
			}
			l.isLogged("level=INFO", "rule=wrong")
		})
	}
}

func TestOneAttackerStopsNoRule(t *testing.T) {
	for name, victim := range map[string]func(n int) process.Event{
		"a container with many files and users": func(n int) process.Event {
			p := inContainer(0)
			p.UID, p.File = uint32(n), process.FileID{Inode: uint64(n)}
			return p
		},
		"a container with many cgroups": func(n int) process.Event {
			p := inContainer(0)
			p.Cgroup.Levels = append(p.Cgroup.Levels, cgroup.Level{ID: 5000 + uint64(n)})
			return p
		},
		"a user with many files and cgroups": func(n int) process.Event {
			p := user(1000)
			p.File.Inode, p.RootOnHost = uint64(n), true // as by a set-uid program
			p.Cgroup = cgroup.Cgroup{Depth: 3, Levels: []cgroup.Level{{ID: 1}, {ID: 2}, {ID: 5000 + uint64(n)}}}
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimited(t, Limits{Victims: 2, WarmUp: time.Hour, Cooldown: time.Hour})
			kills := testutil.Rounds(t, 10_000)
			if n := l.takes("rule", kills, victim); n != kills {
				t.Errorf("%d of %d were killed", n, kills)
			}
			if n := l.takes("rule", 1, func(int) process.Event { return inContainer(99) }); n != 1 {
				t.Error("another one is not killed any more")
			}
			l.isLogged()
		})
	}
}

// A user has 65,536 ids in a namespace of his own.
func TestTheUsersOfANamespaceAreItsOwner(t *testing.T) {
	mustLoad(t, Limits{})
	run := func(attr syscall.SysProcAttr) (uid uint32, inside bool) {
		t.Helper()
		cmd := exec.Command("sleep", "60")
		cmd.SysProcAttr = &attr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
		uid, inside, err := userOf(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		return uid, inside
	}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100_000, Size: 10}}
	if uid, inside := run(syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}); uid != 0 || !inside {
		t.Errorf("in a namespace of root: %d, %v", uid, inside)
	}
	if uid, inside := asUser(t, 4711, func() (uint32, bool) { return run(syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}) }); uid != 4711 || !inside {
		t.Errorf("in a namespace of a user: %d, %v", uid, inside)
	}
	if _, inside := run(syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534}}); inside {
		t.Error("outside of a namespace: inside")
	}
	if _, _, err := userOf(1 << 30); err == nil {
		t.Error("no error for a process that is not there")
	}
}

// asUser runs a function in a thread of another user.
func asUser(t *testing.T, uid uintptr, run func() (uint32, bool)) (uint32, bool) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	become := func(uid uintptr) {
		t.Helper()
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uid, 0); errno != 0 {
			t.Fatal(errno)
		}
	}
	become(uid)
	defer become(0)
	return run()
}

func TestANewRuleForgetsNoVictimInItsWarmUp(t *testing.T) {
	l := newLimited(t, Limits{Victims: 3, WarmUp: 2 * time.Minute, Cooldown: time.Hour})
	if nowInSeconds() < 150 {
		t.Skip("no rule is older than the machine") // a guest of test/kernels has just booted
	}
	numbers, replace, err := l.Rules("test", []uint64{Key("old"), Key("gone")}, func(i int) string { return []string{"old", "gone"}[i] })
	if err != nil {
		t.Fatal(err)
	}
	if err := replace(); err != nil {
		t.Fatal(err)
	}
	// The hits of an old rule are forgotten after a minute, those in the warm-up of a new one are not.
	ago := func(number uint32, since time.Duration) {
		t.Helper()
		var v bpfRuleVictims
		if err := l.objs.RuleKills.Lookup(number, &v); err != nil {
			t.Fatal(err)
		}
		v.SinceS = nowInSeconds() - seconds(since)
		for i := range 3 {
			v.HitS[slotOf(inContainer(i))] = nowInSeconds() - 61
		}
		if err := l.objs.RuleKills.Put(number, v); err != nil {
			t.Fatal(err)
		}
	}
	fourth := func(int) process.Event { return inContainer(3) }
	ago(numbers[0], 2*time.Minute)
	if n := l.takes("old", 1, fourth); n != 1 {
		t.Error("an old rule remembers victims for more than a minute")
	}
	again, replace, err := l.Rules("test", []uint64{Key("old"), Key("new")}, func(i int) string { return []string{"old", "new"}[i] })
	if err != nil {
		t.Fatal(err)
	}
	if err := replace(); err != nil {
		t.Fatal(err)
	}
	if again[0] != numbers[0] || again[1] == numbers[1] {
		t.Errorf("numbers %v, then %v", numbers, again)
	}
	var v bpfRuleVictims
	if err := l.objs.RuleKills.Lookup(numbers[1], &v); err == nil {
		t.Error("a rule that was removed is still there")
	}
	ago(again[1], 90*time.Second)
	if n := l.takes("new", 1, fourth); n != 0 {
		t.Error("a new rule forgets victims in its warm-up")
	}
	l.isLogged("level=ERROR", "rule=new")
}

func TestAStoppedRuleKillsAgain(t *testing.T) {
	const cooldown = 3 * time.Second // shorter than the settings allow
	l := newLimited(t, Limits{Victims: 2, Cooldown: cooldown})
	if n := l.takes("rule", 4, inContainer); n < 2 || n == 4 {
		t.Fatalf("%d of 4 were killed", n)
	}
	l.isLogged("level=WARN")
	age := func(by uint32) {
		t.Helper()
		numbers := l.rules.numbers
		var v bpfRuleVictims
		if err := l.objs.RuleKills.Lookup(numbers[Key("rule")], &v); err != nil {
			t.Fatal(err)
		}
		for i := range v.HitS {
			v.HitS[i] -= min(v.HitS[i], by)
		}
		if err := l.objs.RuleKills.Put(numbers[Key("rule")], v); err != nil {
			t.Fatal(err)
		}
	}
	age(60)
	// One attacker who goes on does not keep it stopped.
	deadline := time.Now().Add(2 * cooldown)
	for l.takes("rule", 1, inContainer) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the rule is still stopped")
		}
		time.Sleep(100 * time.Millisecond)
	}
	l.isLogged("level=INFO")
	if names, err := l.Stopped(); err != nil || len(names) != 0 {
		t.Errorf("stopped: %q, %v", names, err)
	}
	if n := l.takes("rule", 5, inContainer); n == 5 {
		t.Error("the limit does not hold any more")
	}
}

func TestManyRulesShareALimit(t *testing.T) {
	l := newLimited(t, Limits{Victims: 2, Cooldown: time.Hour})
	for n := range maxNamed + 2 {
		if got := l.takes(fmt.Sprint(n), 1, inContainer); got != 1 {
			t.Fatalf("rule %d is stopped", n)
		}
	}
	if got := l.takes("another", 4, inContainer); got < 2 || got == 4 {
		t.Errorf("%d of 4 were killed", got)
	}
	if names, err := l.Stopped(); err != nil || len(names) != 1 {
		t.Errorf("stopped: %q, %v", names, err)
	}
}
