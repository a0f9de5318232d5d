package testutil

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// BuildWasm compiles WebAssembly, given as a text by its path in the repository, and returns the
// path of the module.
func BuildWasm(t testing.TB, path string) string {
	t.Helper()
	tools := Unpacked(t, "wabt")
	dir, inside := UnpackedDir(t, tools)
	text, err := os.ReadFile(filepath.Join(root(t), path))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "module.wat"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	compile := exec.Command("chroot", tools, "/usr/bin/wat2wasm", inside+"/module.wat", "-o", inside+"/module.wasm")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, "module.wasm")
}
