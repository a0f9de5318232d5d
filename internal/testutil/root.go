package testutil

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A RootCase is a way to run a program as root, or as one who resembles root.
type RootCase struct {
	Name string
	// Node is true if the process is root on the node, outside of containers.
	Node bool

	attr      *syscall.SysProcAttr
	setUID    bool // the program is set-uid
	effective int  // user id of the parent
}

const nobody = 65534

// Start starts a copy of a program, with the same base name, and ends it at the end of the
// test.
func (c RootCase) Start(t testing.TB, program string, args ...string) *exec.Cmd {
	t.Helper()
	// In the root directory, which is neither in another file system nor closed to users, and
	// where set-uid programs work.
	dir, err := os.MkdirTemp("/", "cryptnono-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	its := filepath.Join(dir, filepath.Base(program))
	mode := os.FileMode(0o755)
	if c.setUID {
		mode |= os.ModeSetuid
	}
	text, err := os.ReadFile(program)
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(its, text, 0o755), os.Chmod(its, mode))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(its, args...)
	cmd.SysProcAttr = c.attr
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // ends with the goroutine, since only this thread gets other ids
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, 0, uintptr(c.effective), 0); errno != 0 {
			started <- errno
			return
		}
		started <- cmd.Start()
	}()
	if err := <-started; err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	t.Cleanup(func() { End(cmd) })
	return cmd
}

// RootCases returns the cases, which need root, until the end of the test.
func RootCases(t testing.TB) []RootCase {
	t.Helper()
	in := func(cgroup string) *syscall.SysProcAttr {
		path := MakeCgroup(t, cgroup)
		SleepIn(t, path) // so that an agent that starts later knows the cgroup
		dir, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dir.Close() })
		return &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	}
	// The same files as the host's, but not the root directory of init.
	copied, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(copied) })
	user := func(host int) *syscall.SysProcAttr {
		ids := []syscall.SysProcIDMap{{HostID: host, Size: 1}}
		return &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids,
			Credential: &syscall.Credential{NoSetGroups: true},
		}
	}
	ordinary := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return []RootCase{
		{Name: "root on the node", Node: true, attr: in("/cryptnono-root")},
		{Name: "root in a container's cgroup", attr: in("/docker/" + strings.Repeat("c", 64))},
		{Name: "root in a user namespace", attr: user(0)},
		{Name: "a user who is root in a user namespace", attr: user(nobody)},
		{Name: "root in another mount namespace", attr: &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}},
		{Name: "root below another root directory", attr: &syscall.SysProcAttr{Chroot: fmt.Sprintf("/proc/self/fd/%d", copied)}},
		{Name: "a user", attr: ordinary},
		{Name: "a user with a set-uid program", Node: true, attr: ordinary, setUID: true},
		{Name: "root who acts for a user", effective: nobody},
	}
}
