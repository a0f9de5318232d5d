package procread

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
)

// maxConnections is the number of connections that are returned.
const maxConnections = 64

// A Connection is a TCP socket with a peer.
type Connection struct {
	Local, Remote netip.AddrPort
	State         uint8 // as in include/net/tcp_states.h
}

// StateName returns the name of a state, as ss(8) shows it.
func (c Connection) StateName() string {
	names := [...]string{
		1: "established", 2: "syn-sent", 3: "syn-recv", 4: "fin-wait-1", 5: "fin-wait-2", 6: "time-wait", 7: "close",
		8: "close-wait", 9: "last-ack", 10: "listen", 11: "closing", 12: "new-syn-recv",
	}
	if int(c.State) >= len(names) || names[c.State] == "" {
		return strconv.Itoa(int(c.State))
	}
	return names[c.State]
}

// Connections are the TCP connections of a network namespace.
type Connections struct {
	// List has at most 64, the open ones first. More: there are more, or more than the first
	// 1 MiB of a table.
	List []Connection
	More bool
	// HostNetwork: the namespace is that of init, or is not known. Then List is empty, because
	// most connections would be those of others.
	HostNetwork bool
}

// Connections returns the TCP connections in the network namespace of a process, without sockets
// that only listen. The error is process.ErrGone or ErrStuck as in Read.
func (r *Reader) Connections(ctx context.Context, h *process.Handle, owner string) (Connections, error) {
	var all Connections
	known := false
	_, err := r.file(ctx, h, owner, request{kind: requestConnections}, func(data []byte) (err error) {
		if len(data) > 0 {
			known = true
			all, err = decodeConnections(data)
		}
		return err
	})
	if err == nil && !known {
		err = errProtocol
	}
	if err != nil {
		return Connections{}, fmt.Errorf("reading the connections of process %d: %w", h.PID(), err)
	}
	return all, nil
}

// peers sends the Connections of the network namespace of a process.
func (s *server) peers(q request) error {
	var open, other []Connection
	var all Connections
	dir := q.image.Dir()
	if _, err := os.Readlink(dir + "/ns/net"); err != nil {
		return err
	}
	if all.HostNetwork = hasHostNetwork(dir); !all.HostNetwork {
		for _, table := range []string{"/net/tcp", "/net/tcp6"} {
			err := s.lines(dir+table, func(line string) {
				c, ok := parseConnection(line)
				list := &other
				if c.State <= 3 { // it is open, or will be
					list = &open
				}
				switch {
				case !ok:
				case len(*list) == maxConnections:
					all.More = true
				default:
					*list = append(*list, c)
				}
			})
			switch {
			case errors.Is(err, errCut):
				all.More = true
			case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL): // no IPv6
			case err != nil:
				return err
			}
		}
		all.List = append(open, other...)
		if len(all.List) > maxConnections {
			all.List, all.More = all.List[:maxConnections], true
		}
	}
	return s.out.write(frameData, all.encode())
}

// parseConnection parses a line of /proc/PID/net/tcp or tcp6: see proc_pid_net(5). It returns false for
// the head, and for sockets that only listen.
func parseConnection(line string) (c Connection, ok bool) {
	const local, remote, state, listens = 1, 2, 3, 10
	fields := strings.Fields(line)
	if len(fields) <= state {
		return c, false
	}
	n, err1 := strconv.ParseUint(fields[state], 16, 8)
	c.State = uint8(n)
	var err2, err3 error
	c.Local, err2 = parseAddress(fields[local])
	c.Remote, err3 = parseAddress(fields[remote])
	return c, errors.Join(err1, err2, err3) == nil && n != listens
}

// parseAddress parses an address as the kernel writes it: words of 32 bits, and the port.
func parseAddress(text string) (netip.AddrPort, error) {
	address, port, _ := strings.Cut(text, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("parsing a port: %w", err)
	}
	b, err := hex.DecodeString(address)
	if err != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("parsing an address of %d bytes: %w", len(b), errors.Join(err, errProtocol))
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("%w: an address of %d bytes", errProtocol, len(b))
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

// connectionSize is the length of an encoded Connection: the state, and two addresses with ports.
const connectionSize = 1 + 2*(16+2)

const (
	connectionsMore = 1 << iota
	connectionsHostNetwork
)

func (c Connections) encode() []byte {
	flags := byte(0)
	if c.More {
		flags |= connectionsMore
	}
	if c.HostNetwork {
		flags |= connectionsHostNetwork
	}
	b := append(make([]byte, 0, 1+len(c.List)*connectionSize), flags)
	for _, one := range c.List {
		b = append(b, one.State)
		for _, a := range []netip.AddrPort{one.Local, one.Remote} {
			bytes := a.Addr().As16()
			b = binary.LittleEndian.AppendUint16(append(b, bytes[:]...), a.Port())
		}
	}
	return b
}

func decodeConnections(b []byte) (Connections, error) {
	if len(b)%connectionSize != 1 || len(b) > 1+maxConnections*connectionSize || b[0] > connectionsMore|connectionsHostNetwork {
		return Connections{}, fmt.Errorf("%w: %d bytes of connections", errProtocol, len(b))
	}
	c := Connections{More: b[0]&connectionsMore != 0, HostNetwork: b[0]&connectionsHostNetwork != 0}
	address := func(b []byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)).Unmap(), binary.LittleEndian.Uint16(b[16:]))
	}
	for b = b[1:]; len(b) > 0; b = b[connectionSize:] {
		c.List = append(c.List, Connection{State: b[0], Local: address(b[1:]), Remote: address(b[19:])})
	}
	return c, nil
}
