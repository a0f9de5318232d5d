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
	// At most maxConnections are open, and at most 1/freeShare of the file descriptors
	// that are free at start: clients must not use up those needed to kill.
	maxConnections, minConnections, freeShare = 512, 4, 4
	// One address can have 1/addressShare of the connections.
	addressShare = 4
	// maxChecked is how many connections oldest checks for unread data.
	maxChecked = 16
	// Socket buffers count as memory of the agent's container. The kernel doubles these
	// sizes.
	sendBuffer, receiveBuffer = 32 << 10, 8 << 10
	// acceptPause is the pause after an error of accept, such as EMFILE.
	acceptPause = 100 * time.Millisecond
)

// Listen listens on a port for a Server, with small socket buffers.
func Listen(address string) (net.Listener, error) {
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		err2 := raw.Control(func(fd uintptr) { // accepted connections inherit the sizes
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

// connections is a listener with a limit of open connections, in total and per address.
// At a limit, a new connection replaces the one that has waited longest for a request: of
// the same address if that has its share, else of the address with the most connections.
// So a client cannot lock out others, even from the address of Prometheus or the kubelet:
// those send their request immediately.
type connections struct {
	net.Listener
	most, share int

	mu                 sync.Mutex
	waiting, answering list.List // of *connection, in the order of since
	counts             map[netip.Prefix]int
}

// A connection counts against the limits until it is closed.
type connection struct {
	net.Conn
	of      *connections
	address netip.Prefix
	// Under connections.mu:
	since time.Time     // when it was added to the list
	in    *list.List    // waiting or answering; nil after Close
	at    *list.Element // in the list
}

// limit limits the connections of a listener.
func limit(l net.Listener, most int) *connections {
	return &connections{Listener: l, most: most, share: max(most/addressShare, 1), counts: make(map[netip.Prefix]int)}
}

// connectionShare returns the limit of open connections, from the number of free file
// descriptors.
func connectionShare() (int, error) {
	var limit unix.Rlimit // the Go runtime has raised the soft limit to the hard one
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("reading the limit of file descriptors: %w", err)
	}
	used, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0, fmt.Errorf("counting file descriptors: %w", err)
	}
	free := int(min(limit.Cur, 1<<20)) - len(used)
	return max(min(free/freeShare, maxConnections), minConnections), nil
}

// Accept implements net.Listener. It returns an error only after Close.
func (c *connections) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err == nil {
			return c.add(conn), nil
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		c.makeRoom(netip.Prefix{}, 1) // the usual cause is a lack of file descriptors
		time.Sleep(acceptPause)
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

// makeRoom closes a connection if the address has its share, or if most are open.
func (c *connections) makeRoom(address netip.Prefix, most int) {
	c.mu.Lock()
	var evicted *connection
	switch {
	case c.counts[address] >= c.share:
		evicted = c.oldest(func(n *connection) bool { return n.address == address })
	case c.waiting.Len()+c.answering.Len() >= most:
		largest := 0
		for _, n := range c.counts {
			largest = max(largest, n)
		}
		evicted = c.oldest(func(n *connection) bool { return c.counts[n.address] == largest })
	}
	c.mu.Unlock()
	if evicted != nil {
		evicted.abort()
	}
}

// oldest returns the connection to close, of those for which eligible is true: the one
// that has waited longest and has no unread data, or else the one that has waited, or
// has been answered, for longest. The caller holds c.mu.
func (c *connections) oldest(eligible func(*connection) bool) *connection {
	var first *connection
	checked := 0
	for e := c.waiting.Front(); e != nil && checked < maxChecked; e = e.Next() {
		n := e.Value.(*connection)
		if !eligible(n) {
			continue
		}
		if first == nil {
			first = n
		}
		if checked++; !n.hasUnreadData() {
			return n
		}
	}
	for e := c.answering.Front(); e != nil; e = e.Next() {
		if n := e.Value.(*connection); eligible(n) {
			if first == nil || n.since.Before(first.since) {
				return n
			}
			break
		}
	}
	return first
}

// hasUnreadData reports whether a connection has sent data that the server has not read
// yet. It is false for one that has waited longer than requestTimeout.
func (n *connection) hasUnreadData() bool {
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

// put moves a connection to the end of a list. The caller holds connections.mu.
func (n *connection) put(list *list.List) {
	if n.in != nil {
		n.in.Remove(n.at)
	}
	n.since, n.in, n.at = time.Now(), list, list.PushBack(n)
}

// stateChanged is the http.Server.ConnState hook. It records that a request has arrived.
func (c *connections) stateChanged(conn net.Conn, state http.ConnState) {
	n, ok := conn.(*connection)
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok && n.in != nil && state == http.StateActive {
		n.put(&c.answering)
	}
}

// abort closes a connection. The kernel discards unsent data.
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

// CloseWrite is used by http.Server to finish the response to a request that is too long.
func (n *connection) CloseWrite() error {
	if tcp, ok := n.Conn.(*net.TCPConn); ok {
		return tcp.CloseWrite()
	}
	return n.Close()
}

// addressOf returns the client's address, for IPv6 its /64 network, from which a client
// can choose any address.
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
