package pin

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

const stranger = 12345 // a user

// must ends the test if a step of its preparation fails.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// pinMap pins a map, in directories that it makes.
func pinMap(t *testing.T, path string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	must(t, err)
	must(t, m.Pin(path), m.Close())
}

// tree returns all paths below a directory.
func tree(t *testing.T, dir string) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		all = append(all, path)
		return err
	}))
	return all
}

// What a stranger can do where all may write to the bpffs, as if it is mounted without mode=, and what an
// operator may have done by mistake.
func TestWhatOthersCanWriteIsNotTrusted(t *testing.T) {
	build := Build(nil)
	for name, spoil := range map[string]func(t *testing.T, fs, pins string){
		"a stranger has made it":     func(t *testing.T, _, pins string) { must(t, os.Chown(pins, stranger, stranger)) },
		"all may write it":           func(t *testing.T, _, pins string) { must(t, os.Chmod(pins, 0o777)) },
		"a group may write it":       func(t *testing.T, _, pins string) { must(t, os.Chmod(pins, 0o770)) },
		"a stranger has made a unit": func(t *testing.T, _, pins string) { must(t, os.Chown(filepath.Join(pins, "unit"), stranger, 0)) },
		"all may write a unit":       func(t *testing.T, _, pins string) { must(t, os.Chmod(filepath.Join(pins, "unit"), 0o777)) },
		"all may write a build":      func(t *testing.T, _, pins string) { must(t, os.Chmod(filepath.Join(pins, "unit", build), 0o777)) },
		"a stranger has pinned a map": func(t *testing.T, _, pins string) {
			must(t, os.Chown(filepath.Join(pins, "unit", build, "counters"), stranger, 0))
		},
		"a unit is a link": func(t *testing.T, fs, pins string) { must(t, os.Symlink(fs, filepath.Join(pins, "execwhacker"))) },
		"a build is a link": func(t *testing.T, fs, pins string) {
			must(t, os.Symlink(fs, filepath.Join(pins, "unit", Build([]byte("x")))))
		},
		"it is a link": func(t *testing.T, fs, pins string) {
			must(t, os.Rename(pins, fs+"/other"), os.Symlink(fs+"/other", pins))
		},
		"a stranger could rename it":      func(t *testing.T, fs, _ string) { must(t, os.Chmod(fs, 0o777)) },
		"the bpffs is a stranger's":       func(t *testing.T, fs, _ string) { must(t, os.Chown(fs, stranger, 0)) },
		"a stranger could rename parents": func(t *testing.T, fs, _ string) { must(t, os.Chmod(filepath.Dir(fs), 0o777)) },
	} {
		t.Run(name, func(t *testing.T) {
			top := testutil.MountBPF(t)
			fs := filepath.Join(top, "parent")
			pins := filepath.Join(fs, "pins")
			pinMap(t, filepath.Join(fs, "another's", "map"))
			pinMap(t, filepath.Join(pins, "unit", build, "counters"))
			spoil(t, fs, pins)
			before := tree(t, top)
			holder, err := os.Open(pins) // Open must not wait for it
			must(t, err)
			defer holder.Close()
			must(t, unix.Flock(int(holder.Fd()), unix.LOCK_EX))
			if d, err := Open(t.Context(), pins, "v1", time.Millisecond); err == nil || errors.Is(err, ErrHeld) {
				t.Errorf("Open: %v, %v", d, err)
			}
			if d, err := Find(pins); err == nil || errors.Is(err, ErrHeld) {
				t.Errorf("Find: %v, %v", d, err)
			}
			if removed, err := Remove(pins); err == nil || len(removed) > 0 {
				t.Errorf("removed %q, %v", removed, err)
			}
			if after := tree(t, top); !slices.Equal(after, before) {
				t.Errorf("left %q of %q", after, before)
			}
		})
	}
}

// Others cannot lock what they cannot open.
func TestOthersCannotReadTheDirectory(t *testing.T) {
	path := filepath.Join(testutil.MountBPF(t), "pins")
	must(t, os.Mkdir(path, 0o700), os.Chmod(path, 0o755))
	open(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestOnlyBuildsAreTakenForFormers(t *testing.T) {
	path := filepath.Join(testutil.MountBPF(t), "pins")
	u := unit(t, open(t, path), "a")
	pinMap(t, filepath.Join(path, "detector", "another's", "map"))
	pinMap(t, filepath.Join(path, "detector", Build([]byte("b")), "counters"))
	if formers, err := u.Formers(); err != nil || len(formers) != 1 || formers[0].Build != Build([]byte("b")) {
		t.Errorf("%+v, %v", formers, err)
	}
}

func TestOnlyOurPinsAreRemoved(t *testing.T) {
	build := Build(nil)
	for _, alien := range []string{"map", "globals/map", "app/config_map", "app/app_link", "unit/" + build + "/globals/map", "unit/map", "unit/globals/map"} {
		t.Run(alien, func(t *testing.T) {
			fs := testutil.MountBPF(t)
			must(t, os.Chmod(fs, 0o700))
			path := filepath.Join(fs, "pins")
			d := open(t, path)
			for _, name := range []string{"ours/" + build + "/counters", "ours/judge_slot", "unit/" + build + "/counters", alien} {
				pinMap(t, filepath.Join(path, name))
			}
			before := tree(t, path)
			for _, dir := range []string{path, fs} {
				removed, err := Remove(dir)
				if err == nil || !strings.Contains(err.Error(), "nothing is removed") || len(removed) > 0 {
					t.Errorf("removed %q, %v", removed, err)
				}
			}
			if after := tree(t, path); !slices.Equal(after, before) {
				t.Errorf("left %q of %q", after, before)
			}
			if removed, err := d.Keep("unit"); !slices.Equal(removed, []string{"ours"}) || (err == nil) != strings.HasPrefix(alien, "unit/") {
				t.Errorf("removed %q, %v", removed, err)
			}
			if _, err := os.Stat(filepath.Join(path, alien)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEmptyDirectoriesOfOthersAreNotRemoved(t *testing.T) {
	path := filepath.Join(testutil.MountBPF(t), "tc")
	must(t, os.MkdirAll(filepath.Join(path, "globals"), 0o700))
	if removed, err := Remove(path); err == nil || len(removed) > 0 {
		t.Errorf("removed %q, %v", removed, err)
	}
	pinMap(t, filepath.Join(path, "unit", Build(nil), "counters")) // then it is ours, and a crash has left the other
	if removed, err := Remove(path); err != nil || !slices.Equal(removed, []string{"globals", "unit"}) {
		t.Errorf("removed %q, %v", removed, err)
	}
}

func TestHowToMountABPFFileSystemForRootOnly(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(t.Context(), filepath.Join(dir, "pins"), "", 0)
	if err == nil || !strings.Contains(err.Error(), "mount -t bpf -o mode=0700 bpf "+dir) {
		t.Error(err)
	}
}
