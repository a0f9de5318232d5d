package exempt

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// mountFUSE mounts a file system in user space that never answers, until end is called.
func mountFUSE(t *testing.T, dir, options string) (end func()) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal("opening /dev/fuse: ", err)
	}
	end = sync.OnceFunc(func() {
		unix.Close(fd) // all requests end
		_ = unix.Unmount(dir, unix.MNT_DETACH)
	})
	t.Cleanup(end)
	options = fmt.Sprintf("fd=%d,rootmode=40000,user_id=65534,group_id=65534%s", fd, options)
	if err := unix.Mount("test", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		t.Fatal(err)
	}
	return end
}

// places are a program in the directory of a user, and another one.
func places(t *testing.T) (users, other string) {
	t.Helper()
	for _, path := range []*string{&users, &other} {
		*path = filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(*path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return users, other
}

// exemptFiles returns the paths whose files are exempt.
func (g checker) exemptFiles() (all []string) {
	for _, text := range g.now().files() {
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

func (g checker) hasFiles(t *testing.T, paths ...string) {
	t.Helper()
	slices.Sort(paths)
	testutil.Eventually(t, fmt.Sprintf("exempt are the files of %q", paths), func() bool { return slices.Equal(g.exemptFiles(), paths) })
}

// Without allow_other, not even root may look into a file system of a user.
func TestAPathThatCannotBeLookedUpHidesNoOther(t *testing.T) {
	testutil.Privileged(t)
	users, other := places(t)
	end := mountFUSE(t, filepath.Dir(users), "")
	if _, err := os.Stat(users); !errors.Is(err, unix.EACCES) {
		t.Fatalf("the path: %v", err)
	}
	log := new(testutil.Buffer)
	r := Rules{Programs: []string{users, other}}
	g := mustLoadWith(t, r, nil, slog.New(slog.NewJSONHandler(log, nil)))
	g.hasFiles(t, other)
	if by, err := g.Find(t.Context(), process.Event{HostRoot: true}, users); by != "program "+users || err != nil {
		t.Errorf("the path: %q, %v", by, err)
	}
	r.NodeRoot = true
	if err := g.Apply(r); err != nil {
		t.Fatal(err)
	}
	g.hasFiles(t, other)
	time.Sleep(resolveInterval * 3 / 2)
	if n := strings.Count(log.String(), "cannot be looked up"); n != 1 {
		t.Errorf("%d lines: %s", n, log.String())
	}
	end()
	g.hasFiles(t, users, other)
	mountFUSE(t, filepath.Dir(users), "") // above the file that was found
	g.hasFiles(t, other)
}

func TestAFileSystemThatDoesNotAnswerBlocksNothing(t *testing.T) {
	testutil.Privileged(t)
	users, other := places(t)
	r := Rules{Programs: []string{users, other}}
	inTime := func(t *testing.T, what string, end, do func()) {
		t.Helper()
		limit := testutil.Patience(3 * lookupTime)
		defer time.AfterFunc(2*limit, end).Stop() // so that it returns
		began := time.Now()
		do()
		if took := time.Since(began); took > limit {
			t.Errorf("%s took %v", what, took)
		}
	}
	apply := func(t *testing.T, g checker, end func()) {
		t.Helper()
		r.NodeRoot = !r.NodeRoot
		inTime(t, "Apply", end, func() {
			if err := g.Apply(r); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("that is there at the start", func(t *testing.T) {
		var g checker
		end := mountFUSE(t, filepath.Dir(users), ",allow_other")
		inTime(t, "Load", end, func() { g = mustLoad(t, r, nil) })
		g.hasFiles(t, other)
		for range 3 {
			apply(t, g, end)
			g.hasFiles(t, other)
		}
		inTime(t, "Find", end, func() {
			p := process.Event{HostRoot: true, File: process.FileID{Inode: 1}}
			if by, err := g.Find(t.Context(), p, "/bin/sh", users); by != "" || !errors.Is(err, errNoAnswer) {
				t.Errorf("got %q, %v", by, err)
			}
		})
		g.lookups.mu.Lock()
		n := len(g.lookups.running)
		g.lookups.mu.Unlock()
		if n > 3 { // of both paths, and of the script
			t.Errorf("%d lookups run", n)
		}
		end()
		g.hasFiles(t, users, other)
	})
	t.Run("that comes later", func(t *testing.T) {
		g := mustLoad(t, r, nil)
		g.hasFiles(t, users, other)
		end := mountFUSE(t, filepath.Dir(users), ",allow_other")
		moved := other + "2"
		if err := os.Rename(other, moved); err != nil {
			t.Fatal(err)
		}
		g.hasFiles(t, users) // nothing is known of it
		if err := os.Rename(moved, other); err != nil {
			t.Fatal(err)
		}
		g.hasFiles(t, users, other)
		apply(t, g, end)
		g.hasFiles(t, users, other)
		end()
	})
}
