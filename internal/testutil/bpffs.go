package testutil

import (
	"testing"

	"golang.org/x/sys/unix"
)

// MountBPF mounts a BPF file system until the end of the test, and returns its directory. What is
// pinned there ends with it. It needs root.
func MountBPF(t *testing.T) string {
	t.Helper()
	Privileged(t)
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}
