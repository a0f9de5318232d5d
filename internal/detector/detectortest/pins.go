package detectortest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/pin"
)

// RenameBuild has the one build of a unit of pins look like another version: it gives it another name and
// changes its state. It returns the new path.
func RenameBuild(t testing.TB, unit string, change func(*pin.State)) string {
	t.Helper()
	builds, err := filepath.Glob(filepath.Join(unit, "????????????????"))
	if err != nil || len(builds) != 1 {
		t.Fatalf("%v, %v", builds, err)
	}
	m, err := ebpf.LoadPinnedMap(filepath.Join(builds[0], "state"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var state pin.State
	text, err := m.LookupBytes(uint32(0))
	if err == nil {
		err = json.Unmarshal(bytes.TrimRight(text, "\x00"), &state)
	}
	if err != nil {
		t.Fatal(err)
	}
	change(&state)
	changed, err := json.Marshal(state)
	if err == nil {
		clear(text)
		copy(text, changed)
		err = m.Put(uint32(0), text)
	}
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(unit, "0123456789abcdef")
	if err := os.Rename(builds[0], to); err != nil {
		t.Fatal(err)
	}
	return to
}
