package pin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// users makes directories in dir that are not root's, with one in each that is named as pins are.
func users(t *testing.T, dir string, n int) {
	t.Helper()
	for i := range n {
		path := filepath.Join(dir, fmt.Sprintf("%04d", i))
		if err := os.MkdirAll(filepath.Join(path, "one", Build(nil)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Chown(path, 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
}

// All may write to a bpffs that is mounted without mode=.
func TestWhatUsersMakeHidesNoPins(t *testing.T) {
	fs := testutil.MountBPF(t)
	paths := []string{filepath.Join(fs, filepath.Base(Default)), filepath.Join(fs, "zz", "pins")}
	if err := os.Mkdir(filepath.Join(fs, "zz"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		u := unit(t, open(t, path), "a")
		s, _, err := u.Store()
		if err = errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	users(t, fs, maxDirectories+1)
	s := newSearch("", fs, make(map[[2]uint64]bool))
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range s.found {
		found = append(found, f.Path)
	}
	if slices.Sort(found); !slices.Equal(found, paths) {
		t.Errorf("found %q, want %q", found, paths)
	}
	// One entry for each of theirs, none for what is in it, and no more than so many in all.
	if looked := maxEntries - s.entries; looked < maxDirectories || looked > maxDirectories+20 {
		t.Errorf("looked at %d entries", looked)
	}
	s = newSearch("", fs, make(map[[2]uint64]bool))
	s.entries = 20
	if err := s.run(); err != nil || len(s.found) == 0 || s.found[0].Path != paths[0] || s.entries != 0 {
		t.Errorf("with a bound: found %v, %v, %d entries are left", s.found, err, s.entries)
	}
}
