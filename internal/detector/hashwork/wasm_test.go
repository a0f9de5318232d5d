package hashwork

import (
	"os/exec"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// runWasm runs a module in Node.js, in calls that are short enough for the better compiler to take
// over.
const runWasm = `
const module = new WebAssembly.Module(require('fs').readFileSync(process.argv[1]));
const {memory, compute} = new WebAssembly.Instance(module).exports;
const words = new Uint32Array(memory.buffer);
for (let i = 0, x = 1; i < words.length; i++) words[i] = x = Math.imul(x, 0x9e3779b1) + i;
for (;;) compute(1 << 18);`

// CryptoNight in WebAssembly is observed with the rule program too, since it has no AES instructions, and
// dies with a likely sign of another detector.
func TestAWalkInWebAssemblyIsObserved(t *testing.T) {
	cmd := wasm(t)
	testOnlyObserved(t, newBed(t, twiceAsSoon), cmd)
}

// wasm returns a command that computes in WebAssembly.
func wasm(t *testing.T) *exec.Cmd {
	t.Helper()
	return exec.Command(needed(t, "node"), "-e", runWasm, testutil.BuildWasm(t, "internal/detector/hashwork/testdata/scratchpad.wat"))
}
