package agenttest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// dir returns the directory of the program under test, which all users may enter.
var dir = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "cryptnono-test")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
})

// build builds the program for the first test that needs it, or copies the one that
// CRYPTNONO_PROGRAM names. It returns the output of the compiler.
var build = sync.OnceValues(func() ([]byte, error) {
	dir, err := dir()
	if err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "cryptnono")
	if given := os.Getenv("CRYPTNONO_PROGRAM"); given != "" {
		text, err := os.ReadFile(given)
		if err != nil {
			return nil, err
		}
		return nil, os.WriteFile(program, text, 0o755)
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-tags", "grpcnotrace", "-ldflags=-s -w", "-o", program, "./cmd/cryptnono")
	cmd.Dir = "../.." // the root of the module, also for tests in another module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd.CombinedOutput()
})

// Main is testutil.RunWithoutLeaks for a package two folders below the root, and removes the
// program under test. It returns the exit code for TestMain.
func Main(m *testing.M) int {
	dir, err := dir()
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	return testutil.RunWithoutLeaks(m)
}

// Program returns the path of the program under test. It skips the test without root.
func Program(t *testing.T) string {
	t.Helper()
	testutil.Privileged(t)
	if out, err := build(); err != nil {
		t.Fatalf("building cryptnono: %v\n%s", err, out)
	}
	dir, _ := dir()
	return filepath.Join(dir, "cryptnono")
}

// WriteJSON writes v to a file in a temporary folder of the test, and returns its path.
func WriteJSON(t *testing.T, name string, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
