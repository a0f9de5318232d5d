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

// MakeCgroup makes a cgroup of that path, and removes it with the test. It returns
// its directory.
func MakeCgroup(t testing.TB, path string) string {
	t.Helper()
	root := "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		root += "/unified" // beside v1
	}
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
					t.Errorf("%s is left", at)
					return
				}
			}
		})
	}
	return root
}

// SleepIn starts a process in a cgroup, by the path of its directory, "" for the own one.
func SleepIn(t testing.TB, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "600")
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
