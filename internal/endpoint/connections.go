package endpoint

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxConnections is how many connections are open at once, and one in freeShare
	// descriptors that are free at the start is how many they take at most: strangers
	// must not take those that are needed to kill.
	maxConnections, minConnections, freeShare = 512, 4, 4
	// addressShare is the part of them that one address may have.
	addressShare = 4
	// maxAsked is how many connections are asked at most whether they sent something.
	maxAsked = 16
	// Buffers in the kernel count as memory of the agent's container. The kernel doubles
	// these.
	sendBuffer, receiveBuffer = 32 << 10, 8 << 10
	// acceptRest is the pause after a connection could not be accepted, as when there is
	// no descriptor.
	acceptRest = 100 * time.Millisecond
)

// Listen opens a port for a Server, with small buffers in the kernel.
func Listen(address string) (net.Listener, error) {
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		err2 := raw.Control(func(fd uintptr) { // accepted connections inherit it
			err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer))
		})
		return errors.Join(err, err2)
	}}
	l, err := c.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for metrics: %w", err)
	}
	return l, nil
}

// connections is a listener of which so many connections are open at once, and so many
// of one address. When there are as many, the one that has waited longest for a request
// is closed for the next one: of the same address if it has its share, else of the
// address that has most. So nobody can keep others out, also if he shares the address of
// those who ask for health and metrics, since an honest client sends his request at once.
type connections struct {
	net.Listener
	most, share int

	mu                 sync.Mutex
	waiting, answering list.List // of *connection, since when it does; the oldest first
	counts             map[netip.Prefix]int
}

// A connection is one that is counted until it is closed.
type connection struct {
	net.Conn
	of      *connections
	address netip.Prefix
	// Under the lock of all:
	since time.Time  // it waits, or is being answered
	in    *list.List // of those that do, nil when it is closed
	at    *list.Element
}

// limit bounds the connections of a listener.
func limit(l net.Listener, most int) *connections {
	return &connections{Listener: l, most: most, share: max(most/addressShare, 1), counts: make(map[netip.Prefix]int)}
}

// connectionShare returns how many connections may be open, given the descriptors that
// are free now.
func connectionShare() (int, error) {
	var limit unix.Rlimit // the soft limit is the hard one: the Go runtime raises it
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("asking for the limit of descriptors: %w", err)
	}
	used, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0, fmt.Errorf("counting descriptors: %w", err)
	}
	free := int(min(limit.Cur, 1<<20)) - len(used)
	return max(min(free/freeShare, maxConnections), minConnections), nil
}

// Accept implements net.Listener. The only error is that of a listener that was closed.
func (c *connections) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err == nil {
			return c.add(conn), nil
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		c.makeRoom(netip.Prefix{}, 1) // most probably, a descriptor is missing
		time.Sleep(acceptRest)
	}
}

func (c *connections) add(conn net.Conn) *connection {
	n := &connection{Conn: conn, of: c, address: addressOf(conn.RemoteAddr())}
	c.makeRoom(n.address, c.most)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[n.address]++
	n.put(&c.waiting)
	return n
}

// makeRoom closes a connection if that address has its share, or if there are most.
func (c *connections) makeRoom(address netip.Prefix, most int) {
	c.mu.Lock()
	var victim *connection
	switch {
	case c.counts[address] >= c.share:
		victim = c.oldest(func(n *connection) bool { return n.address == address })
	case c.waiting.Len()+c.answering.Len() >= most:
		largest := 0
		for _, n := range c.counts {
			largest = max(largest, n)
		}
		victim = c.oldest(func(n *connection) bool { return c.counts[n.address] == largest })
	}
	c.mu.Unlock()
	if victim != nil {
		victim.abort()
	}
}

// oldest returns the connection that gives way, of those that are as wanted: the one that
// has waited longest without having sent anything that is not read yet; or else the one
// that waits, or is being answered, for longest. The caller holds the lock.
func (c *connections) oldest(wanted func(*connection) bool) *connection {
	var first *connection
	asked := 0
	for e := c.waiting.Front(); e != nil && asked < maxAsked; e = e.Next() {
		n := e.Value.(*connection)
		if !wanted(n) {
			continue
		}
		if first == nil {
			first = n
		}
		if asked++; !n.unread() {
			return n
		}
	}
	for e := c.answering.Front(); e != nil; e = e.Next() {
		if n := e.Value.(*connection); wanted(n) {
			if first == nil || n.since.Before(first.since) {
				return n
			}
			break
		}
	}
	return first
}

// unread reports whether a connection, which has not waited for long, has sent what the
// server has had no time to read.
func (n *connection) unread() bool {
	tcp, ok := n.Conn.(*net.TCPConn)
	if !ok || time.Since(n.since) > requestTimeout {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	bytes := 0
	err = raw.Control(func(fd uintptr) { bytes, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
	return err == nil && bytes > 0
}

// put moves a connection to the end of a list. The caller holds the lock.
func (n *connection) put(list *list.List) {
	if n.in != nil {
		n.in.Remove(n.at)
	}
	n.since, n.in, n.at = time.Now(), list, list.PushBack(n)
}

// note takes down that the request of a connection has come, for http.Server.ConnState.
func (c *connections) note(conn net.Conn, state http.ConnState) {
	n, ok := conn.(*connection)
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok && n.in != nil && state == http.StateActive {
		n.put(&c.answering)
	}
}

// abort closes a connection, and has the kernel forget what is not sent.
func (n *connection) abort() {
	if tcp, ok := n.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = n.Close()
}

// Close implements net.Conn.
func (n *connection) Close() error {
	c := n.of
	c.mu.Lock()
	if n.in != nil {
		n.in.Remove(n.at)
		n.in = nil
		if c.counts[n.address]--; c.counts[n.address] == 0 {
			delete(c.counts, n.address)
		}
	}
	c.mu.Unlock()
	return n.Conn.Close()
}

// CloseWrite lets the server end its answer to a request that was too long before it
// closes.
func (n *connection) CloseWrite() error {
	if tcp, ok := n.Conn.(*net.TCPConn); ok {
		return tcp.CloseWrite()
	}
	return n.Close()
}

// addressOf returns the address that a client cannot multiply: of IPv6, 64 bits.
func addressOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}
