package learned

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// files are a Store.
type files []File

func (f *files) Files() ([]File, error) { return *f, nil }

func (f *files) Forget(s Selection) (gone []File, err error) {
	var left files
	for _, x := range *f {
		if s.Has(x) {
			gone = append(gone, x)
		} else {
			left = append(left, x)
		}
	}
	*f = left
	return gone, nil
}

// serve serves three files until the test ends.
func serve(t *testing.T) string {
	t.Helper()
	testutil.Privileged(t)
	socket := filepath.Join(t.TempDir(), "run", "learned.sock")
	s, err := Listen(socket, &files{{ID: 1, Path: "/a"}, {ID: 2, Path: "/b"}, {ID: 3, Path: "/b"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left: %v", err)
		}
	})
	return socket
}

func TestFilesAreListedAndForgotten(t *testing.T) {
	socket := serve(t)
	for _, c := range []struct {
		name      string
		selection Selection
		forgotten int
		left      int
	}{
		{"none", Selection{}, 0, 3},
		{"another ID", Selection{ID: 7}, 0, 3},
		{"a path", Selection{Path: "/b"}, 2, 1},
		{"all", Selection{All: true}, 1, 0},
	} {
		gone, err := Forget(t.Context(), socket, c.selection)
		if err != nil || len(gone) != c.forgotten {
			t.Errorf("%s: forgot %+v, %v", c.name, gone, err)
		}
		if left, err := List(t.Context(), socket); err != nil || len(left) != c.left {
			t.Errorf("%s: left %+v, %v", c.name, left, err)
		}
	}
}

func TestWithoutAnAgentTheErrorSaysSo(t *testing.T) {
	if _, err := List(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, ErrNoAgent) {
		t.Error(err)
	}
}

func TestOnlyRootIsAnswered(t *testing.T) {
	socket := serve(t)
	if st, err := os.Stat(socket); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", st.Mode(), err)
	}
	// Even if the files let others in.
	for _, path := range []string{socket, filepath.Dir(socket), filepath.Dir(filepath.Dir(socket)), filepath.Dir(filepath.Dir(filepath.Dir(socket)))} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	asNobody(t, func() {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
			t.Errorf("connecting: %v", err)
			return
		}
		_, _ = unix.Write(fd, []byte("{}\n"))
		answer := make([]byte, 100)
		if n, err := unix.Read(fd, answer); n > 0 {
			t.Errorf("answered %q, %v", answer[:n], err)
		}
	})
}

// asNobody calls f in a thread that is another user.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		const nobody = 65534
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			t.Error(errno)
			return
		}
		f()
	}()
	<-done
}

// Clients that send nothing, too much or nonsense do not keep others from an answer.
func TestHostileClientsAreLimited(t *testing.T) {
	socket := serve(t)
	for range 2 * maxClients {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	time.Sleep(timeLimit) // the first ones are closed then
	if _, err := ask(t.Context(), socket, request{Forget: &Selection{Path: strings.Repeat("x", maxRequest)}}); err == nil {
		t.Error("a request that is too long is answered")
	}
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("nonsense\n")); err != nil {
		t.Fatal(err)
	}
	var r response
	if err := json.NewDecoder(c).Decode(&r); err != nil || r.Error == "" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestTheNewestAgentIsAsked(t *testing.T) {
	socket := serve(t)
	s, err := Listen(socket, &files{{ID: 9}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	if all, err := List(t.Context(), socket); err != nil || len(all) != 1 || all[0].ID != 9 {
		t.Errorf("%+v, %v", all, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
