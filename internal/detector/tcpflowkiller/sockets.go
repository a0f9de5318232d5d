package tcpflowkiller

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/bpflist"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// States of a socket in the kernel.
const (
	stateClose  = 7
	stateListen = 10

	portDNS = 53
)

// eachSocket calls f with the IP sockets of all processes. Descriptors cost their owner very little, so
// there may be many millions of them, also of one socket: f must not keep one for each. Its argument is
// valid until f returns. progress, if not nil, is called again and again.
func eachSocket(program *ebpf.Program, progress func(), f func(*bpfListedSocket) error) error {
	iter, err := bpflist.Attach(program)
	if err != nil {
		return err
	}
	defer iter.Close()
	in, err := iter.Open(progress)
	if err != nil {
		return fmt.Errorf("listing sockets: %w", err)
	}
	defer in.Close()
	buffered := bufio.NewReaderSize(in, 1<<16)
	var s bpfListedSocket
	for {
		_, err := io.ReadFull(buffered, unsafe.Slice((*byte)(unsafe.Pointer(&s)), unsafe.Sizeof(s)))
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("listing sockets: %w", err)
		}
		if err := f(&s); err != nil {
			return err
		}
	}
}

// A socketOwner is a process and what its sockets tell of it.
type socketOwner struct {
	who      process.Instance
	serves   bool      // one has the port of DNS, or listens
	received [2]uint64 // inodes of sockets by which something has come: two tell whether there is another one
}

// note adds a socket.
func (o *socketOwner) note(s *bpfListedSocket) {
	o.serves = o.serves || s.OwnPort == portDNS || s.State == stateListen
	if s.Received == 0 || s.Inode == o.received[0] {
		return
	}
	if o.received[0] == 0 {
		o.received[0] = s.Inode
	} else {
		o.received[1] = s.Inode
	}
}

// spared returns why the process is not killed for what is sent on one of its sockets: as in
// forward.bpf.h and finish.bpf.h.
func (o *socketOwner) spared(s *bpfListedSocket) bpfSpared {
	if s.Passed != 0 {
		return bpfSparedSPARED_PASSED
	}
	for _, inode := range o.received {
		if inode != 0 && inode != s.Inode {
			return bpfSparedSPARED_FORWARDER
		}
	}
	if o.serves {
		return bpfSparedSPARED_FORWARDER
	}
	return bpfSparedNOT_SPARED
}

// An ownedSocket is a socket and a process that has it.
type ownedSocket struct {
	socket bpfListedSocket
	owner  *socketOwner
}

// findSockets returns those sockets of all processes that want returns true for. It must do so for
// few of each process, and never twice for the same. progress is as for eachSocket.
func findSockets(program *ebpf.Program, progress func(), want func(process.Instance, *bpfListedSocket) (bool, error)) (found []ownedSocket, err error) {
	owners := make(map[process.Instance]*socketOwner)
	err = eachSocket(program, progress, func(s *bpfListedSocket) error {
		who := process.Instance{PID: int(s.Pid), Start: time.Duration(s.StartNs).Truncate(process.ClockTick)}
		o := owners[who]
		if o == nil {
			o = &socketOwner{who: who}
			owners[who] = o
		}
		o.note(s)
		wanted, err := want(who, s)
		if wanted {
			found = append(found, ownedSocket{*s, o})
		}
		return err
	})
	return found, err
}

// owners finds the processes that have a socket, for all who wait with one list. It is safe for
// concurrent use.
type owners struct {
	listing sync.Mutex // one list at a time
	mu      sync.Mutex
	next    *ownersList // that has not begun; nil for none
}

// An ownersList finds the sockets with some inodes, one of each process for each.
type ownersList struct {
	found map[uint64][]ownedSocket // by the inodes that are looked for
	err   error
	done  chan struct{}
}

// of returns the sockets with an inode. list fills in those of the inodes that are keys of found. Who
// waits meanwhile is served by the next list.
func (o *owners) of(inode uint64, list func(found map[uint64][]ownedSocket) error) ([]ownedSocket, error) {
	o.mu.Lock()
	l, first := o.next, o.next == nil
	if first {
		l = &ownersList{found: make(map[uint64][]ownedSocket), done: make(chan struct{})}
		o.next = l
	}
	l.found[inode] = nil
	o.mu.Unlock()
	if first {
		o.listing.Lock()
		o.mu.Lock()
		o.next = nil
		o.mu.Unlock()
		l.err = list(l.found)
		o.listing.Unlock()
		close(l.done)
	}
	<-l.done
	return l.found[inode], l.err
}

// listOwners is a list for owners. A reload does not wait for it.
func (d *Detector) listOwners(found map[uint64][]ownedSocket) error {
	d.mu.Lock()
	program, err := d.objs.ListSockets.Clone()
	d.mu.Unlock()
	if err != nil {
		return fmt.Errorf("listing sockets: %w", err)
	}
	defer program.Close()
	type owned struct {
		who   process.Instance
		inode uint64
	}
	seen := make(map[owned]bool)
	all, err := findSockets(program, nil, func(who process.Instance, s *bpfListedSocket) (bool, error) {
		_, wanted := found[s.Inode]
		if !wanted || seen[owned{who, s.Inode}] {
			return false, nil
		}
		seen[owned{who, s.Inode}] = true
		return true, nil
	})
	for _, o := range all {
		found[o.socket.Inode] = append(found[o.socket.Inode], o)
	}
	return err
}

// socketCgroup returns for whom places are counted while the process of an event is not known.
func (e *event) socketCgroup() string { return fmt.Sprintf("cgroup %d", e.raw.Cgroup) }

// judgeOwners judges the processes that have a socket on which something was refused while
// no process was sending.
func (d *Detector) judgeOwners(ctx context.Context, e event, p *policy, pending undecided) {
	var all []ownedSocket
	if e.raw.Inode != 0 {
		var err error
		if all, err = d.owners.of(e.raw.Inode, d.listOwners); err != nil {
			d.Log.Error("no process found for a refused connection", "detector", Name, "err", err)
		}
	}
	found, tally := false, &d.tallies[e.raw.Reason]
	for _, o := range all {
		at, err := d.Inventory.Locate(o.owner.who.PID)
		if err != nil || at.Instance() != o.owner.who {
			continue
		}
		found = true
		its := e
		its.Event.Event = at
		if e.Outcome == verdict.OutcomeObserved {
			d.Judge.LogKernel(verdict.Observed, its.Event, its.line(p))
			continue
		}
		its.raw.Spared = uint32(o.owner.spared(&o.socket))
		by, err := d.Judge.Exempt.Find(ctx, at, "")
		if err != nil {
			d.Log.Warn("process not judged", "detector", Name, "pid", at.PID, "err", err)
			d.Judge.Record(verdict.Refused, at, its.line(p), tally)
			continue
		}
		d.completeUnknown(ctx, its, p, by, its.line(p), tally)
		if by == "" {
			d.meet(ctx, its, p, pending)
		}
	}
	if !found {
		d.logNobody(e, p)
	}
}

// logNobody logs a verdict for which no process is known.
func (d *Detector) logNobody(e event, p *policy) {
	if e.Outcome == verdict.OutcomeObserved {
		d.Judge.LogKernel(verdict.Observed, e.Event, e.line(p))
		return
	}
	d.Judge.Record(verdict.Refused, process.Event{}, e.line(p), &d.tallies[e.raw.Reason])
}
