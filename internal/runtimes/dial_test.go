package runtimes

import (
	"os"
	"path/filepath"
	"testing"
)

func TestASharedSocketMustNotBeASymbolicLink(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "run", "dind")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	listen(t, dir, "real.sock")
	for name, target := range map[string]string{"link.sock": "real.sock", "absolute.sock": "/run/dind/real.sock", "above.sock": "../dind/real.sock"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/run", filepath.Join(root, "var")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path   string
		shared bool
		found  bool
	}{
		{"/run/dind/real.sock", true, true},
		{"/var/dind/real.sock", true, true}, // a link of the host
		{"/run/dind/link.sock", true, false},
		{"/run/dind/absolute.sock", true, false},
		{"/run/dind/above.sock", true, false},
		{"/run/dind/none.sock", true, false},
		{"/run/dind", true, false},
		{"real.sock", true, false},
		{"/run/dind/absolute.sock", false, true},
		{"/run/dind/link.sock", false, true},
	} {
		if found := (socket{root, c.path, c.shared}).exists(); found != c.found {
			t.Errorf("%s, shared %v: found %v", c.path, c.shared, found)
		}
	}
}
