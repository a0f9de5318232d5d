package learned

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxClients is the number of clients that are answered at the same time.
	maxClients = 4
	// maxRequest is the size of a request in bytes. Six of them can be a byte of a path, which has
	// 4 KiB at most.
	maxRequest = 32 << 10
)

// A Server answers requests.
type Server struct {
	path     string
	listener *net.UnixListener
	made     os.FileInfo
	store    Store
}

// Listen makes the socket, and its directory if there is none. It replaces the socket of an agent
// that has ended, and that of one that runs: then the newest is asked.
func Listen(path string, store Store) (*Server, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the socket: %w", err)
	}
	// Made under another name, so that it has its mode when it can be found.
	next := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing an old socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: next, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("making the socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	s := &Server{path: path, listener: l, store: store}
	if err = os.Chmod(next, 0o600); err == nil {
		s.made, err = os.Lstat(next)
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making the socket: %w", err), os.Remove(next), l.Close())
	}
	return s, nil
}

// Serve answers until ctx ends, and closes the server.
func (s *Server) Serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = s.listener.Close() })()
	defer s.close()
	var clients sync.WaitGroup
	defer clients.Wait()
	free := make(chan struct{}, maxClients)
	for {
		free <- struct{}{}
		c, err := s.listener.AcceptUnix()
		if ctx.Err() != nil {
			if err == nil {
				_ = c.Close()
			}
			return nil
		} else if err != nil {
			return fmt.Errorf("accepting a client: %w", err)
		}
		clients.Go(func() {
			defer func() { <-free }()
			defer c.Close()
			defer context.AfterFunc(ctx, func() { _ = c.Close() })()
			_ = s.serve(c) // a client that does not read has its answer lost
		})
	}
}

// close removes the socket, if it is still that of this server.
func (s *Server) close() {
	_ = s.listener.Close()
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.made) {
		_ = os.Remove(s.path)
	}
}

func (s *Server) serve(c *net.UnixConn) error {
	if err := c.SetDeadline(time.Now().Add(timeLimit)); err != nil {
		return err
	}
	if err := mustBeRoot(c); err != nil {
		return err
	}
	var r response
	var err error
	if r.Files, err = s.answer(c); err != nil {
		r.Error = err.Error()
	}
	return json.NewEncoder(c).Encode(r)
}

func (s *Server) answer(c io.Reader) ([]File, error) {
	var q request
	if err := json.NewDecoder(io.LimitReader(c, maxRequest)).Decode(&q); err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	if q.Forget == nil {
		return s.store.Files()
	}
	return s.store.Forget(*q.Forget)
}

var errNotRoot = errors.New("the other end of the socket is not root")

// mustBeRoot returns errNotRoot unless the other end is root in this process's user namespace,
// which for the agent is the initial one. Root of another user namespace has another id here.
func mustBeRoot(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("asking for the other end of the socket: %w", err)
	}
	var peer *unix.Ucred
	var asked error
	if err := raw.Control(func(fd uintptr) { peer, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || asked != nil {
		return fmt.Errorf("asking for the other end of the socket: %w", errors.Join(err, asked))
	}
	if peer.Uid != 0 {
		return errNotRoot
	}
	return nil
}
