// Package testutil has helpers for the tests of several packages.
package testutil

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/rlimit"
)

// The main goroutine keeps the main thread, so that no test gives it other namespaces or ids:
// /proc/PID would show them for the whole process.
func init() { runtime.LockOSThread() } //nolint:gochecknoinits // only it runs in the main goroutine

// Privileged skips a test without root and under -short. With CRYPTNONO_REQUIRE_ROOT=1 in
// the environment, it fails a test without root instead. It removes the limit of locked
// memory, which applies to BPF before Linux 5.11, as the agent does.
func Privileged(t testing.TB) {
	t.Helper()
	if testing.Short() && !strict() {
		t.Skip("needs root, skipped under -short")
	}
	need(t, os.Geteuid() == 0, "needs root")
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatalf("removing the limit of locked memory: %v", err)
	}
}

// BuildC compiles a C program, with warnings as errors, and returns its path. The program
// is removed at the end of the test. The path of the source is relative to the root of the
// module. Flags such as -m32 or -lm come last on the compiler's command line. Without a
// compiler, the test is skipped or fails as in Privileged.
//
// Under -short the program is kept in .cache/victims, and not compiled again while source,
// headers, flags and compiler are the same. So no test may write to it.
//
// If CRYPTNONO_VICTIMS is a directory, BuildC compiles nothing and returns NAME, or
// m32/NAME for the flag -m32, in this directory.
func BuildC(t testing.TB, source string, flags ...string) string {
	t.Helper()
	name := strings.TrimSuffix(filepath.Base(source), filepath.Ext(source))
	if dir := os.Getenv("CRYPTNONO_VICTIMS"); dir != "" {
		return prebuilt(t, dir, name, slices.Contains(flags, "-m32"))
	}
	cc, err := exec.LookPath("cc")
	need(t, err == nil, "needs a C compiler")
	program := filepath.Join(t.TempDir(), name)
	kept := ""
	if testing.Short() {
		kept = keptProgram(t, cc, source, flags)
		if os.Link(kept, program) == nil {
			return program
		}
	}
	args := slices.Concat([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-pthread",
		"-o", program, filepath.Join(root(t), source)}, flags)
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		t.Fatalf("compiling %s: %v\n%s", source, err, out)
	}
	if kept != "" {
		_ = os.Link(program, kept) // unless on another file system, or another test was faster
	}
	return program
}

// keptProgram returns the path at which a compiled program is kept, in a directory that exists.
func keptProgram(t testing.TB, cc, source string, flags []string) string {
	t.Helper()
	source = filepath.Join(root(t), source)
	headers, err := filepath.Glob(filepath.Join(filepath.Dir(source), "*.h"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	for _, file := range append(headers, source, cc) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(sum, "%s %d\n%s", file, len(content), content)
	}
	fmt.Fprintf(sum, "%q", flags)
	dir := filepath.Join(root(t), ".cache", "victims")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, fmt.Sprintf("%x", sum.Sum(nil)))
}

func prebuilt(t testing.TB, dir, name string, m32 bool) string {
	t.Helper()
	if m32 {
		dir = filepath.Join(dir, "m32")
	}
	program := filepath.Join(dir, name)
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("searching for a program in CRYPTNONO_VICTIMS: %v", err)
	}
	return program
}

// root returns the root directory of the module.
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

func need(t testing.TB, ok bool, what string) {
	t.Helper()
	switch {
	case ok:
	case strict():
		t.Fatal(what + ", and CRYPTNONO_REQUIRE_ROOT is set")
	default:
		t.Skip(what)
	}
}
