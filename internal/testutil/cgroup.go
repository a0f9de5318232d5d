package testutil

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// CgroupRoot returns the directory of the root of cgroup v2.
func CgroupRoot() string {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		return root + "/unified" // next to v1
	}
	return root
}

// MakeCgroup creates a cgroup v2 with this path, and removes it at the end of the test. It
// returns its directory.
func MakeCgroup(t testing.TB, path string) string {
	t.Helper()
	root := CgroupRoot()
	for at := root; path != ""; {
		var name string
		name, path, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
		at += "/" + name
		root = at
		if err := os.Mkdir(at, 0o755); errors.Is(err, os.ErrExist) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			for end := time.Now().Add(Patience(10 * time.Second)); os.Remove(at) != nil; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Errorf("%s cannot be removed", at)
					return
				}
			}
		})
	}
	return root
}

// SleepIn starts a process in a cgroup, given its directory; "" is the cgroup of this
// process.
func SleepIn(t testing.TB, dir string) *exec.Cmd {
	t.Helper()
	return StartIn(t, dir, exec.Command("sleep", "600"))
}

// StartIn is Start in a cgroup, as SleepIn.
func StartIn(t testing.TB, dir string, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	if dir != "" {
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	}
	return Start(t, cmd)
}
