package agent

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestCapabilitiesOfDetectorsThatAreOffAreUnneeded(t *testing.T) {
	kinds := []detector.Kind{{Name: "a", Capabilities: []int{1, 2}}, {Name: "b", Capabilities: []int{2, 3}}, {Name: "c"}}
	for enabled, want := range map[string][]int{"a": {3}, "b": {1}, "ab": {}, "": {1, 2, 2, 3}} {
		got := unneeded(kinds, func(name string) bool { return strings.Contains(enabled, name) })
		if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("with %q: %v, want %v", enabled, got, want)
		}
	}
}

// It runs in another process: what is dropped does not come back.
func TestDroppedCapabilitiesAreGoneFromAllThreads(t *testing.T) {
	testutil.Privileged(t)
	const variable = "CRYPTNONO_TEST_DROP"
	if os.Getenv(variable) == "" {
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), variable+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	var log bytes.Buffer
	for range 2 {
		err := dropCapabilities([]int{unix.CAP_NET_ADMIN}, slog.New(slog.NewTextHandler(&log, nil)))
		if errors.Is(err, unix.ENOTSUP) {
			t.Skip("a program with cgo, which the agent is not")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if strings.Count(log.String(), "restart") != 1 {
		t.Errorf("logged %q", log.String())
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	child, err := exec.Command("/bin/cat", "/proc/self/status").Output()
	if err != nil {
		t.Fatal(err)
	}
	statuses := map[string][]byte{"of a child": child}
	for _, thread := range threads {
		if statuses[thread.Name()], err = os.ReadFile("/proc/self/task/" + thread.Name() + "/status"); err != nil {
			t.Fatal(err)
		}
	}
	for thread, text := range statuses {
		_, after, _ := strings.Cut(string(text), "CapEff:\t")
		set, _, _ := strings.Cut(after, "\n")
		if n, err := strconv.ParseUint(set, 16, 64); err != nil || n&(1<<unix.CAP_NET_ADMIN) != 0 {
			t.Errorf("thread %s has %s, %v", thread, set, err)
		}
	}
}
