// Package debian evaluates the names of programs in Debian by the built-in rules: those of
// programs.txt, or in `make soak` all, for which it downloads some 45 MB, once.
//
//	go test ./test/debian                   # the sample
//	SOAK=1 go test ./test/debian            # all; needs apt, as any user
//	go test ./test/debian -update           # the same, and writes the sample
package debian

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
)

var update = flag.Bool("update", false, "write the sample")

const (
	cache  = "../../.cache/debian"
	sample = "programs.txt"
	suite  = "bookworm"
	fewest = 50_000 // programs in it
)

func TestTheBuiltInRulesSpareThePrograms(t *testing.T) {
	m, err := match.Compile(rules.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	all := os.Getenv("SOAK") != "" || *update
	names := sampled(t)
	if all {
		if names = programs(t); len(names) < fewest {
			t.Fatalf("found only %d programs", len(names))
		}
	}
	for _, name := range names {
		for _, args := range []string{"--help", "-a", "-o x -u y"} {
			argv := append([]string{"/usr/bin/" + name}, strings.Fields(args)...)
			if v := m.Judge([]byte(argv[0]), match.Area(argv)); v.Outcome != match.NoMatch {
				t.Errorf("%q: matches %v, %q", argv, v.Ban.Origin, v.Ban.Text)
			}
		}
	}
	t.Logf("%d programs", len(names))
	if !all {
		return
	}
	want := sampleOf(names)
	if *update {
		if err := os.WriteFile(sample, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(sample); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what these programs and rules give (%v): run with -update", sample, err)
	}
}

// sampled returns the names in the sample.
func sampled(t *testing.T) (names []string) {
	text, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			names = append(names, strings.TrimSuffix(line, "\n"))
		}
	}
	return names
}

// sampleOf returns some of the names, one a line: each that begins as a banned program does,
// and a few others.
func sampleOf(names []string) []byte {
	const begin, others = 4, 300
	begins := make(map[string]bool)
	for _, b := range rules.Builtin().Bans {
		if b.Kind == rules.Program {
			begins[strings.ToLower(b.Text[:min(begin, len(b.Text))])] = true
		}
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "# Programs of Debian 12: those that begin with %d letters of a banned program, and every\n# %dth. go test ./test/debian -update writes them.\n", begin, others)
	for i, name := range names {
		if i%others == 0 || begins[strings.ToLower(name[:min(begin, len(name))])] {
			fmt.Fprintln(&text, name)
		}
	}
	return text.Bytes()
}

// programs returns the names of all programs in Debian's main archive, sorted.
func programs(t *testing.T) []string {
	names := make(map[string]bool)
	for _, arch := range []string{"amd64", "all"} {
		file, err := os.Open(contents(t, arch))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		lines, err := gzip.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		for scan := bufio.NewScanner(lines); ; {
			if !scan.Scan() {
				if err := scan.Err(); err != nil {
					t.Fatal(err)
				}
				break
			}
			// usr/games/rig          games/rig
			line := strings.TrimRight(scan.Text(), " \t")
			name := strings.TrimRight(line[:strings.LastIndexAny(line, " \t")+1], " \t")
			if slices.Contains([]string{"bin", "sbin", "games", "libexec"}, path.Base(path.Dir(name))) {
				names[path.Base(name)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// contents returns the list of all files in packages of an architecture. It is downloaded
// once, from the archive that the machine's apt uses.
func contents(t *testing.T, arch string) string {
	file := filepath.Join(cache, suite+"-"+arch+".gz")
	if _, err := os.Stat(file); err == nil {
		return file
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI)",
		"Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main").Output()
	archive, _, _ := strings.Cut(string(out), "\n")
	if err != nil || archive == "" {
		t.Fatalf("apt on this machine has no archive of Debian: %v", err)
	}
	address := fmt.Sprintf("%sdists/%s/main/Contents-%s.gz", archive, suite, arch)
	partial := file + ".partial"
	if out, err := exec.Command("/usr/lib/apt/apt-helper", "download-file", address, partial).CombinedOutput(); err != nil {
		t.Fatalf("downloading %s: %v\n%s", address, err, out)
	}
	if err := os.Rename(partial, file); err != nil {
		t.Fatal(err)
	}
	return file
}
