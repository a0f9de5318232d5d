package testutil

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Unpacked returns a directory in which there are packages of Debian 13 with those that they
// depend on, for chroot. It downloads what is not there yet, and all tests share it. The test is
// skipped where that is not possible.
func Unpacked(t testing.TB, packages ...string) string {
	t.Helper()
	Privileged(t)
	if os.Getenv("CRYPTNONO_VICTIMS") != "" {
		t.Skip("no packages are fetched in a guest")
	}
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("needs Debian")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "cryptnono", "programs")
	fetch := exec.Command(filepath.Join(root(t), "scripts/fetch-programs"), append([]string{dir}, packages...)...)
	if out, err := fetch.CombinedOutput(); err != nil {
		t.Fatalf("fetching %s: %v\n%s", packages, err, out)
	}
	return filepath.Join(dir, "root")
}

// UnpackedDir returns a new directory in root, which Unpacked has returned, and its path after
// chroot. It is removed at the end of the test.
func UnpackedDir(t testing.TB, root string) (dir, inside string) {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Join(root, "tmp"), "") //nolint:usetesting // elsewhere
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir, filepath.Join("/tmp", filepath.Base(dir))
}
