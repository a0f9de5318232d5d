package hashwork

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A user or a container that computes as many users has one share of what is remembered.
func TestTheClockSeesWhoIsResponsible(t *testing.T) {
	testutil.Privileged(t)
	var s sampler
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	if err := s.clock.set(Defaults().SampleRate); err != nil {
		t.Fatal(err)
	}
	busy := func() *exec.Cmd { return exec.Command("sh", "-c", "while :; do :; done") }
	with := func(a syscall.SysProcAttr) *exec.Cmd {
		cmd := busy()
		cmd.SysProcAttr = &a
		return testutil.Start(t, cmd)
	}
	own := testutil.MakeCgroup(t, "/cryptnono-responsible")
	if err := os.Chown(own, 4712, 4712); err != nil {
		t.Fatal(err)
	}
	cgroup, err := os.Open(own)
	if err != nil {
		t.Fatal(err)
	}
	defer cgroup.Close()
	user := &syscall.Credential{Uid: 4712, Gid: 4712}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 200_000, Size: 10}}
	container := with(syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Credential: user})
	mapped := with(syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID, UidMappings: ids, GidMappings: ids, Credential: new(syscall.Credential)})
	const root = 200_000 // of a container, outside
	type who struct{ uid, responsible uint32 }
	want := map[int]who{
		testutil.StartInUserNamespace(t, 4711, busy()).Process.Pid: {104_711, 4711},
		with(syscall.SysProcAttr{Credential: user}).Process.Pid:    {4712, 4712},
		container.Process.Pid: {4712, testutil.Namespace(t, container.Process.Pid, "pid")},
		mapped.Process.Pid:    {root, testutil.Namespace(t, mapped.Process.Pid, "user")},
		// As by a set-user-ID program, in a cgroup of which the user can make many.
		with(syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Credential: user, UseCgroupFD: true, CgroupFD: int(cgroup.Fd())}).Process.Pid: {4712, 4712},
	}
	testutil.Eventually(t, "samples", func() bool {
		time.Sleep(drainInterval)
		if err := s.take(nil, func(x sample) {
			got := who{x.uid, x.owner.UID}
			if w, ok := want[x.program.PID]; ok && got != w { // it may be just before its exec
				t.Logf("process %d: got %+v, want %+v", x.program.PID, got, w)
			} else {
				delete(want, x.program.PID)
			}
		}); err != nil {
			t.Fatal(err)
		}
		return len(want) == 0
	})
}
