package attacks

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// has32Bit reports whether this machine can execute 32-bit programs.
func has32Bit() bool { return runtime.GOARCH == "amd64" }

// emulator returns the path of the QEMU user emulator for this machine's architecture.
func emulator(t *testing.T) string {
	t.Helper()
	return installed(t, map[string]string{"amd64": "qemu-x86_64", "arm64": "qemu-aarch64"}[runtime.GOARCH])
}

// installed returns the path of a program that scripts/install-deps has unpacked, or that is
// installed on the machine.
func installed(t *testing.T, name string) string {
	t.Helper()
	if path, err := filepath.Abs("../../.cache/bin/" + name); err == nil {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: run scripts/install-deps", err)
	}
	return path
}
