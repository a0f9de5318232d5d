package tcpflowkiller

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// States of a socket in the kernel.
const (
	stateClose  = 7
	stateListen = 10

	portDNS = 53
)

// listSockets returns the IP sockets of all processes. A process may be there more than once
// with one socket.
func listSockets(program *ebpf.Program) (all []bpfListedSocket, err error) {
	iter, err := link.AttachIter(link.IterOptions{Program: program})
	if err != nil {
		return nil, fmt.Errorf("attaching the iterator of sockets: %w", err)
	}
	defer iter.Close()
	in, err := iter.Open()
	if err != nil {
		return nil, fmt.Errorf("listing sockets: %w", err)
	}
	defer in.Close()
	b, err := io.ReadAll(in)
	if err != nil {
		return nil, fmt.Errorf("listing sockets: %w", err)
	}
	all = make([]bpfListedSocket, len(b)/int(unsafe.Sizeof(bpfListedSocket{})))
	if err := binary.Read(bytes.NewReader(b), binary.NativeEndian, all); err != nil {
		return nil, fmt.Errorf("decoding a list of sockets: %w", err)
	}
	return all, nil
}

// A socketOwner is a process and what its sockets tell of it.
type socketOwner struct {
	who     process.Instance
	sockets []bpfListedSocket
}

// ownersOf groups sockets by process.
func ownersOf(all []bpfListedSocket) map[process.Instance]*socketOwner {
	owners := make(map[process.Instance]*socketOwner)
	for _, s := range all {
		who := process.Instance{PID: int(s.Pid), Start: time.Duration(s.StartNs).Truncate(process.ClockTick)}
		o := owners[who]
		if o == nil {
			o = &socketOwner{who: who}
			owners[who] = o
		}
		o.sockets = append(o.sockets, s)
	}
	return owners
}

// spared returns why a process is not killed for what is sent on a socket, given its inode: as in
// forward.bpf.h and finish.bpf.h.
func (o *socketOwner) spared(inode uint64) bpfSpared {
	spared := bpfSparedNOT_SPARED
	for _, s := range o.sockets {
		switch {
		case s.Inode == inode && s.Passed != 0:
			return bpfSparedSPARED_PASSED
		case s.OwnPort == portDNS, s.State == stateListen, s.Inode != inode && s.Received != 0:
			spared = bpfSparedSPARED_FORWARDER
		}
	}
	return spared
}

// judgeOwners judges the processes that have a socket on which something was refused while
// nobody in particular sent it.
func (d *Detector) judgeOwners(ctx context.Context, e event, p *policy) {
	d.mu.Lock()
	all, err := listSockets(d.objs.ListSockets)
	d.mu.Unlock()
	if err != nil {
		d.Log.Error("no process found for a refused connection", "detector", Name, "err", err)
	}
	found := false
	for _, o := range ownersOf(all) {
		if !o.holds(e.raw.Inode) {
			continue
		}
		at, err := d.Inventory.Locate(o.who.PID)
		if err != nil || at.Instance() != o.who {
			continue
		}
		found = true
		its := e
		its.Event.Event = at
		if e.Outcome == verdict.OutcomeObserved {
			d.Judge.LogKernel(verdict.Observed, its.Event, its.line(p))
			continue
		}
		its.raw.Spared = uint32(o.spared(e.raw.Inode))
		by, err := d.Judge.Exempt.Find(ctx, at, "")
		if err != nil {
			d.Log.Warn("process not judged", "detector", Name, "pid", at.PID, "err", err)
			continue
		}
		d.completeUnknown(ctx, its, by, its.line(p), &d.tallies[e.raw.Reason])
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

func (o *socketOwner) holds(inode uint64) bool {
	for _, s := range o.sockets {
		if s.Inode == inode && inode != 0 {
			return true
		}
	}
	return false
}
