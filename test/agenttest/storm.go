package agenttest

import (
	"errors"
	"net"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A Storm starts programs with a banned word and makes connections to a banned address of the
// loopback, which are to be refused, until it ends.
type Storm struct {
	died, refused, lived atomic.Uint64
	stop                 chan struct{}
	running              sync.WaitGroup
}

// StartStorm starts one. The test must end it.
func StartStorm(t *testing.T, word, address string) *Storm {
	t.Helper()
	l, err := net.Listen("tcp4", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &Storm{stop: make(chan struct{})}
	repeat := func(pause time.Duration, try func() *atomic.Uint64) {
		s.running.Go(func() {
			for {
				try().Add(1)
				select {
				case <-s.stop:
					return
				case <-time.After(pause):
				}
			}
		})
	}
	repeat(0, func() *atomic.Uint64 {
		cmd := exec.Command("/bin/true", word)
		if _ = cmd.Run(); Killed(cmd) {
			return &s.died
		}
		return &s.lived
	})
	repeat(time.Millisecond, func() *atomic.Uint64 {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err == nil {
			c.Close()
		}
		if errors.Is(err, syscall.EPERM) {
			return &s.refused
		}
		return &s.lived
	})
	return s
}

// End ends the storm after at least so many execs and connections, and returns how many there were. The
// test fails if one survived.
func (s *Storm) End(t *testing.T, execs, connections uint64) (died, refused uint64) {
	t.Helper()
	Eventually(t, "enough of them", func() bool { return s.died.Load() >= execs && s.refused.Load() >= connections })
	close(s.stop)
	s.running.Wait()
	died, refused = s.died.Load(), s.refused.Load()
	if lived := s.lived.Load(); lived > 0 {
		t.Errorf("%d of %d execs and connections survived", lived, lived+died+refused)
	}
	return died, refused
}
