// Package testutil holds what tests of several packages share.
package testutil

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/rlimit"
)

// Privileged ends a test that needs root where it is not: skips it without
// root and under -short. With CRYPTNONO_REQUIRE_ROOT=1 in the environment
// nothing is skipped, a missing right fails the test. It lifts the limit of locked
// memory as the agent does, which counts for BPF before Linux 5.11.
func Privileged(t testing.TB) {
	t.Helper()
	if testing.Short() && !strict() {
		t.Skip("needs root, skipped under -short")
	}
	need(t, os.Geteuid() == 0, "needs root")
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatalf("lifting the limit of locked memory: %v", err)
	}
}

// BuildC compiles a C program, warnings being errors, and returns the path of
// the result, which lasts as long as the test. The path of the source is
// relative to the root of the module. Flags, like -m32 or -lm, come last on the
// compiler's command line. Without a compiler, the test ends as in Privileged.
//
// Where CRYPTNONO_VICTIMS names a folder, the program is taken from there and
// nothing is compiled: NAME, or m32/NAME where the flags have -m32.
func BuildC(t testing.TB, source string, flags ...string) string {
	t.Helper()
	name := strings.TrimSuffix(filepath.Base(source), filepath.Ext(source))
	if dir := os.Getenv("CRYPTNONO_VICTIMS"); dir != "" {
		return prebuilt(t, dir, name, slices.Contains(flags, "-m32"))
	}
	_, err := exec.LookPath("cc")
	need(t, err == nil, "needs a C compiler")
	program := filepath.Join(t.TempDir(), name)
	args := slices.Concat([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-pthread",
		"-o", program, filepath.Join(root(t), source)}, flags)
	if out, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
		t.Fatalf("compiling %s: %v\n%s", source, err, out)
	}
	return program
}

func prebuilt(t testing.TB, dir, name string, narrow bool) string {
	t.Helper()
	if narrow {
		dir = filepath.Join(dir, "m32")
	}
	program := filepath.Join(dir, name)
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("looking for the victim in CRYPTNONO_VICTIMS: %v", err)
	}
	return program
}

// root returns the directory of the module that the test belongs to.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the working directory")
	return ""
}

func strict() bool { return os.Getenv("CRYPTNONO_REQUIRE_ROOT") == "1" }

func need(t testing.TB, there bool, what string) {
	t.Helper()
	switch {
	case there:
	case strict():
		t.Fatal(what + ", and CRYPTNONO_REQUIRE_ROOT is set")
	default:
		t.Skip(what)
	}
}
