package testutil

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// StartInUserNamespace is Start in a new user namespace of a user, without any capability. The process has
// another real user id, as with the subordinate ids of that user.
func StartInUserNamespace(t testing.TB, uid int, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	become := func(ruid, euid uintptr) {
		t.Helper()
		// Of this thread only, unlike syscall.Setresuid.
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ruid, euid, ^uintptr(0)); errno != 0 {
			t.Fatal(errno)
		}
	}
	become(uintptr(uid)+100_000, uintptr(uid))
	defer become(0, 0)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	return Start(t, cmd)
}

// Namespace returns the inode number of a namespace of a process, such as "pid".
func Namespace(t testing.TB, pid int, kind string) uint32 {
	t.Helper()
	link, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/" + kind)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(link, kind+":["), "]"), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}
