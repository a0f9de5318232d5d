package agenttest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// CgroupRoot returns the directory of cgroup v2.
func CgroupRoot() string {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		return root + "/unified" // beside v1
	}
	return root
}

// MakeCgroup creates a cgroup and its ancestors, and removes those that it created at the end of
// the test. It returns the directory.
func MakeCgroup(t *testing.T, path string) string {
	t.Helper()
	return makeCgroup(t, CgroupRoot(), path)
}

func makeCgroup(t *testing.T, dir, path string) string {
	t.Helper()
	for name := range strings.SplitSeq(path[1:], "/") {
		dir += "/" + name
		if err := os.Mkdir(dir, 0o755); errors.Is(err, os.ErrExist) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		dir := dir
		t.Cleanup(func() { Eventually(t, dir+" is removed", func() bool { return removed(dir) }) })
	}
	return dir
}

// removed tries to kill the processes of a cgroup and to remove it with all cgroups below, and
// reports whether that succeeded.
func removed(dir string) bool {
	below, _ := filepath.Glob(dir + "/*/cgroup.procs")
	for _, file := range below {
		removed(filepath.Dir(file))
	}
	procs, _ := os.ReadFile(dir + "/cgroup.procs")
	for pid := range strings.FieldsSeq(string(procs)) {
		if n, err := strconv.Atoi(pid); err == nil && n > 1 {
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	}
	err := os.Remove(dir)
	return err == nil || errors.Is(err, os.ErrNotExist)
}

// InCgroup makes cmd start in a cgroup, which it creates as MakeCgroup does.
func InCgroup(t *testing.T, path string, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	f, err := os.Open(MakeCgroup(t, path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
	return cmd
}

// PodUID is the UID of the pod in PodCgroup.
const PodUID = "11111111-2222-3333-4444-555555555555"

// PodCgroup returns the cgroup path of a container in a pod that no runtime on the machine knows.
// The container's id is id repeated to 64 digits.
func PodCgroup(id string) string {
	return "/kubepods/besteffort/pod" + PodUID + "/" + strings.Repeat(id, 64/len(id))
}

// Entering returns a command that executes another command in a cgroup, for Options.Wrap.
func Entering(dir string) []string {
	return []string{"/bin/sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, dir}
}

// CPULimit creates a cgroup with a limit in percent of one CPU, and returns its directory.
func CPULimit(t *testing.T, name string, percent int) string {
	t.Helper()
	root, file, value := "/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", strconv.Itoa(percent*1000)
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil { // not v1
		root, file, value = CgroupRoot(), "cpu.max", value+" 100000"
		if err := os.WriteFile(root+"/cgroup.subtree_control", []byte("+cpu"), 0); err != nil {
			t.Fatal(err)
		}
	}
	dir := makeCgroup(t, root, "/"+name)
	if err := os.WriteFile(dir+"/"+file, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
	return dir
}

// MemoryLimit creates a cgroup with a memory limit, and returns its directory.
func MemoryLimit(t *testing.T, name string, bytes int) string {
	t.Helper()
	root, file := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if _, err := os.Stat(root + "/" + file); err != nil { // not v1
		root, file = CgroupRoot(), "memory.max"
		if err := os.WriteFile(root+"/cgroup.subtree_control", []byte("+memory"), 0); err != nil {
			t.Fatal(err)
		}
	}
	dir := makeCgroup(t, root, "/"+name)
	if err := os.WriteFile(dir+"/"+file, []byte(strconv.Itoa(bytes)), 0); err != nil {
		t.Fatal(err)
	}
	return dir
}
