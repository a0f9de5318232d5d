package pin

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestLeftPinsAreFoundWhereverTheyAre(t *testing.T) {
	fs := testutil.MountBPF(t)
	paths := []string{filepath.Join(fs, "pins"), filepath.Join(fs, "other", "own pins")}
	if err := os.Mkdir(filepath.Join(fs, "other"), 0o700); err != nil {
		t.Fatal(err)
	}
	left := func() (found []string) {
		t.Helper()
		all, err := Left()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if slices.Contains(paths, f.Path) && slices.Equal(f.Units, []string{"one", "two"}) {
				found = append(found, f.Path)
			}
		}
		slices.Sort(found)
		return found
	}
	var dirs []*Dir
	for _, path := range paths {
		d := open(t, path)
		dirs = append(dirs, d)
		for _, name := range []string{"one", "two"} {
			u, err := d.Unit(name, Build([]byte(name)))
			if err != nil {
				t.Fatal(err)
			}
			s, _, err := u.Store()
			if err = errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if found := left(); len(found) != 0 {
		t.Errorf("found %q, which agents use", found)
	}
	for _, d := range dirs {
		d.Close()
	}
	if found := left(); !slices.Equal(found, []string{paths[1], paths[0]}) {
		t.Errorf("found %q", found)
	}
	// What a user has made to look like pins.
	if err := unix.Chown(paths[0], 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if found := left(); !slices.Equal(found, []string{paths[1]}) {
		t.Errorf("found %q", found)
	}
	if _, err := Remove(paths[1]); err != nil {
		t.Fatal(err)
	}
	if found := left(); len(found) != 0 {
		t.Errorf("found %q, which is removed", found)
	}
}
