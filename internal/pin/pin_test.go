package pin

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) {
	os.Exit(testutil.RunWithoutLeaks(m))
}

func open(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := Open(t.Context(), path, "v1", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func unit(t *testing.T, d *Dir, build string) *Unit {
	t.Helper()
	u, err := d.Unit("detector", Build([]byte(build)))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestTwoAgentsDoNotUseTheSamePins(t *testing.T) {
	path := filepath.Join(testutil.MountBPF(t), "pins")
	if d, err := Find(path); d != nil || err != nil {
		t.Fatalf("before there are any: %v, %v", d, err)
	}
	d := open(t, path)
	if _, err := Open(t.Context(), path, "v2", 0); !errors.Is(err, ErrHeld) {
		t.Errorf("got %v", err)
	}
	if _, err := Find(path); !errors.Is(err, ErrHeld) {
		t.Errorf("got %v", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = d.Close() })
	next, err := Open(t.Context(), path, "v2", testutil.Patience(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	next.Close()
}

func TestPinsNeedABPFFileSystem(t *testing.T) {
	dir := t.TempDir()
	if d, err := Open(t.Context(), filepath.Join(dir, "pins"), "", 0); err == nil {
		t.Error(d)
	}
	if d, err := Find(dir); d != nil || err != nil {
		t.Errorf("%v, %v", d, err)
	}
	if _, err := Remove(dir); err == nil {
		t.Error("no error")
	}
	if removed, err := Remove(filepath.Join(dir, "missing")); removed != nil || err != nil {
		t.Errorf("%v, %v", removed, err)
	}
}

func TestTheStateOutlivesTheAgent(t *testing.T) {
	path := filepath.Join(testutil.MountBPF(t), "pins")
	want := State{Version: "v1", Generation: 3, Base: bases{"a": {"kills": 1}}}
	for _, before := range []State{{}, want} {
		d := open(t, path)
		s, got, err := unit(t, d, "a").Store()
		if err != nil {
			t.Fatal(err)
		}
		if got.Generation != before.Generation || got.Base["a"]["kills"] != before.Base["a"]["kills"] {
			t.Errorf("got %+v, want %+v", got, before)
		}
		if err := errors.Join(s.Write(want), s.Close(), d.Close()); err != nil {
			t.Fatal(err)
		}
	}
	d := open(t, path)
	formers, err := unit(t, d, "b").Formers()
	if err != nil || len(formers) != 1 || formers[0].Build != Build([]byte("a")) || formers[0].Version != "v1" {
		t.Fatalf("got %+v, %v", formers, err)
	}
	if err := formers[0].Remove(); err != nil {
		t.Fatal(err)
	}
	if formers, err := unit(t, d, "b").Formers(); err != nil || len(formers) != 0 {
		t.Errorf("it is left: %+v, %v", formers, err)
	}
}

func TestAnEntryThatIsNotCompleteIsRemoved(t *testing.T) {
	d := open(t, filepath.Join(testutil.MountBPF(t), "pins"))
	u := unit(t, d, "a")
	slot, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Close()
	at := u.entry("judge")
	if err := slot.Pin(at.slot); err != nil {
		t.Fatal(err)
	}
	if e, err := u.FindEntry("judge"); e != nil || err != nil {
		t.Fatalf("got %v, %v", e, err)
	}
	if _, err := os.Stat(at.slot); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}

func TestOnlyTheUnitsThatAreKeptAreLeft(t *testing.T) {
	path := filepath.Join(testutil.MountBPF(t), "pins")
	d := open(t, path)
	for _, name := range []string{"one", "two", "three"} {
		if _, err := d.Unit(name, Build(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if removed, err := d.Keep("one"); err != nil || !slices.Equal(removed, []string{"three", "two"}) {
		t.Errorf("removed %v, %v", removed, err)
	}
	if removed, err := Remove(path); err != nil || !slices.Equal(removed, []string{"one"}) {
		t.Errorf("removed %v, %v", removed, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is left: %v", err)
	}
}

// Under ReadWritePaths of systemd, the directory is a mount point, and the file system around it read-only: the agent
// can remove what is in it, but not the directory.
func TestADirectoryThatIsAMountPointIsOnlyEmptied(t *testing.T) {
	fs := testutil.MountBPF(t)
	for i, name := range []string{"writable around it", "read-only around it"} {
		readOnly := i == 1
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(fs, "pins")
			if err := mkdir(path); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount(path, path, "", unix.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
			if readOnly {
				if err := unix.Mount("", fs, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
					t.Fatal(err)
				}
			}
			d := open(t, path)
			if _, err := d.Unit("one", Build(nil)); err != nil {
				t.Fatal(err)
			}
			for _, want := range []int{1, 0} {
				if removed, err := Remove(path); err != nil || len(removed) != want {
					t.Errorf("removed %v, %v", removed, err)
				}
			}
			if entries, err := os.ReadDir(path); err != nil || len(entries) != 0 {
				t.Errorf("left: %v, %v", entries, err)
			}
			if err := errors.Join(d.Close(), unix.Unmount(path, unix.MNT_DETACH)); err != nil {
				t.Error(err)
			}
		})
	}
}
