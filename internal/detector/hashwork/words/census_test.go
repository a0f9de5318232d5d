package words

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// counted is the result for one file.
type counted struct {
	path string
	Counts
	found []string
}

func countFile(path string) (counted, error) {
	f, err := os.Open(path)
	if err != nil {
		return counted{}, err
	}
	defer f.Close()
	s := NewSearch()
	_, err = io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{f}, make([]byte, 256<<10))
	return counted{path, s.Counts(), s.Found()}, err
}

// isMiner reports whether a file is known to be a miner's, by its name.
func isMiner(path string) bool { return strings.Contains(filepath.Base(path), "xmrig") }

// No program of this machine but a miner has the words of one. Whole files are searched,
// which is more than a process executes. The order is random. After 20 seconds the test ends
// with a line that says how many files it has searched. With SOAK=1 it searches all, and with
// CENSUS=DIRECTORY:... those of other directories.
func TestNoOtherProgramOfThisMachineIsAMiner(t *testing.T) {
	if testing.Short() {
		t.Skip("reads all programs of the machine, skipped under -short")
	}
	end := time.Now().Add(20 * time.Second)
	roots := []string{"/usr", "/opt", "/lib", "/bin", "/sbin", "/root/.cargo", "/root/go"}
	if dirs := os.Getenv("CENSUS"); dirs != "" {
		roots = filepath.SplitList(dirs)
	}
	files := regularFiles(roots)
	seed := rand.Uint64()
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })

	var results []counted
	looked := 0
	for _, path := range files {
		if os.Getenv("SOAK") == "" && time.Now().After(end) {
			break
		}
		looked++
		if !isELF(path) {
			continue
		}
		c, err := countFile(path)
		if err != nil {
			t.Logf("not counted: %v", err)
			continue
		}
		results = append(results, c)
		if c.Miner() && !isMiner(path) {
			t.Errorf("%s has the words of a miner: %+v %q", path, c.Counts, c.found)
		}
	}
	t.Logf("seed %d: %d ELF files among %d of %d files of %q", seed, len(results), looked, len(files), roots)
	logClosest(t, results)
}

// logClosest logs the files that have the most words.
func logClosest(t *testing.T, results []counted) {
	slices.SortFunc(results, func(a, b counted) int {
		return cmp.Or(cmp.Compare(rank(b.Counts), rank(a.Counts)), cmp.Compare(a.path, b.path))
	})
	var table strings.Builder
	for _, c := range results[:min(40, len(results))] {
		fmt.Fprintf(&table, "\n%3d %3d %3d  %s %q", c.Protocol, c.Algorithm, c.Constant, c.path, c.found)
	}
	t.Logf("protocol, algorithm, constant:%s", table.String())
}

// rank is higher the closer counts are to those of a miner.
func rank(c Counts) int {
	rest := max(6*c.Algorithm, 3*c.Constant)
	return 2*(min(3*c.Protocol, 12)+min(rest, 12)) + c.Protocol + c.Algorithm + c.Constant
}

// regularFiles returns each regular file in the directories once.
func regularFiles(roots []string) (files []string) {
	type inode struct{ device, number uint64 }
	seen := map[inode]bool{}
	for _, root := range roots {
		if real, err := filepath.EvalSymlinks(root); err == nil {
			root = real
		}
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			var s syscall.Stat_t // of what is gone, or may not be read, nothing is searched
			if err == nil && d.Type().IsRegular() && syscall.Lstat(path, &s) == nil && !seen[inode{s.Dev, s.Ino}] {
				seen[inode{s.Dev, s.Ino}] = true
				files = append(files, path)
			}
			return nil
		})
	}
	return files
}

func isELF(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	magic := make([]byte, 4)
	_, err = io.ReadFull(f, magic)
	return err == nil && bytes.Equal(magic, []byte("\x7fELF"))
}
