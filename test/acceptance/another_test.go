package acceptance

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// These changes to the sources make another version of the agent: each map that is pinned has another
// layout or another size, and the counters have other numbers.
var anotherVersion = []struct{ file, old, new string }{
	{"bpf/record.h", "\tu64 start_ns;  /* of the process", "\tu64 another;\n\tu64 start_ns;  /* of the process"},
	{"internal/detector/execwhacker/event.bpf.h", "\tNOT_DEFERRED = OWN_COUNTERS,\n", "\tANOTHER = OWN_COUNTERS,\n\tNOT_DEFERRED,\n"},
	{"internal/detector/tcpflowkiller/finish.bpf.h", "\tFATE_KILLED,", "\tFATE_ANOTHER,\n\tFATE_KILLED,"},
	{"internal/detector/tcpflowkiller/finish.bpf.h", "\tCONNECTS_CHECKED = OWN_COUNTERS,\n", "\tANOTHER = OWN_COUNTERS,\n\tCONNECTS_CHECKED,\n"},
	{"internal/detector/tcpflowkiller/finish.bpf.h", "max_entries, 1 << 20", "max_entries, 1 << 19"},
	{"internal/detector/tcpflowkiller/egress.bpf.h", "\tu32 refused;\n", "\tu64 another;\n\tu32 refused;\n"},
	{"internal/detector/tcpflowkiller/egress.bpf.h", "max_entries, 16384", "max_entries, 8192"},
}

// buildAnother builds that version.
func buildAnother(t *testing.T) (program string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	compiler, err := exec.Command("go", "tool", "-n", "bpf2go").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	detectors := []string{"internal/detector/execwhacker", "internal/detector/tcpflowkiller"}
	copySources(t, root, dir, append(detectors, "bpf", "internal/detector/tcpflowkiller/firstbytes"))
	for _, c := range anotherVersion {
		file := filepath.Join(dir, c.file)
		text := readText(t, file)
		if strings.Count(text, c.old) != 1 {
			t.Fatalf("%s does not have %q once", c.file, c.old)
		}
		write(t, file, strings.Replace(text, c.old, c.new, 1))
	}
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	var compilers sync.WaitGroup
	for _, d := range detectors {
		_, command, found := strings.Cut(readText(t, filepath.Join(root, d, "gen.go")), "//go:generate go tool bpf2go ")
		if !found {
			t.Fatalf("no command in %s/gen.go", d)
		}
		command = strings.Replace(command, "-target amd64,arm64", "-target "+runtime.GOARCH, 1)
		compilers.Go(func() {
			cmd := exec.Command("sh", "-c", strings.TrimSpace(string(compiler))+" "+command)
			cmd.Dir = filepath.Join(dir, d)
			cmd.Env = append(os.Environ(), "GOPACKAGE="+filepath.Base(d), "BPF2GO_CC=clang-19", "BPF2GO_STRIP=llvm-strip-19")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("compiling %s: %v\n%s", d, err, out)
			}
		})
	}
	compilers.Wait()
	for _, d := range detectors {
		made, err := filepath.Glob(filepath.Join(dir, d, "bpf_*"))
		if err != nil || len(made) != 2 {
			t.Fatalf("made %v, %v", made, err)
		}
		for _, file := range made {
			overlay.Replace[filepath.Join(root, d, filepath.Base(file))] = file
		}
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	write(t, list, string(text))
	program = filepath.Join(dir, "cryptnono")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-tags", "grpcnotrace", "-ldflags=-s -w", "-overlay", list, "-o", program, "./cmd/cryptnono")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building another version: %v\n%s", err, out)
	}
	return program
}

// copySources copies the C sources of some directories.
func copySources(t *testing.T, from, to string, dirs []string) {
	t.Helper()
	for _, d := range dirs {
		files, err := filepath.Glob(filepath.Join(from, d, "*.[ch]"))
		if err == nil {
			err = os.MkdirAll(filepath.Join(to, d), 0o700)
		}
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", d, files, err)
		}
		for _, file := range files {
			write(t, filepath.Join(to, d, filepath.Base(file)), readText(t, file))
		}
	}
}

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
