// Package inventory lists the cgroups and processes of the machine, as the kernel sees
// them. In a container, /proc and cgroupfs show the agent only its own namespaces.
package inventory

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/process"
)

// ErrClosed says that the inventory was closed.
var ErrClosed = ringbuf.ErrClosed

// An Inventory reports new cgroups from Load to Close. It is safe for concurrent use.
type Inventory struct {
	paths  cgroup.Parser
	objs   bpfObjects
	host   bpfRoot // what init sees
	made   link.Link
	list   *link.Iter
	events *ringbuf.Reader
	once   sync.Mutex // one user of the programs that are run on demand at a time
}

// Load loads the programs and attaches them. Cgroups that are made from then on are
// reported by ReadCgroup.
func Load(paths cgroup.Parser) (*Inventory, error) {
	i := &Inventory{paths: paths}
	if err := i.load(); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

func (i *Inventory) load() error {
	if err := loadBpfObjects(&i.objs, nil); err != nil {
		return fmt.Errorf("loading the programs of the inventory: %w", err)
	}
	var err error
	if i.events, err = ringbuf.NewReader(i.objs.NewCgroups); err != nil {
		return fmt.Errorf("opening the ring buffer of new cgroups: %w", err)
	}
	if i.list, err = link.AttachIter(link.IterOptions{Program: i.objs.ListProcesses}); err != nil {
		return fmt.Errorf("attaching the iterator of processes: %w", err)
	}
	if i.made, err = link.AttachTracing(link.TracingOptions{Program: i.objs.ReportCgroup}); err != nil {
		return fmt.Errorf("attaching to the tracepoint cgroup_mkdir: %w", err)
	}
	if ret, err := i.objs.FindHost.Run(&ebpf.RunOptions{}); err != nil || ret != 0 {
		return errors.Join(errors.New("asking the kernel for the mount namespace of init"), err)
	}
	if err := i.objs.Host.Get(&i.host); err != nil {
		return fmt.Errorf("reading the mount namespace of init: %w", err)
	}
	return nil
}

// Close detaches the programs and frees all that Load took.
func (i *Inventory) Close() error {
	var errs []error
	if i.made != nil {
		errs = append(errs, i.made.Close())
	}
	if i.list != nil {
		errs = append(errs, i.list.Close())
	}
	return errors.Join(append(errs, i.Stop(), i.objs.Close())...)
}

// Stop makes ReadCgroup return ErrClosed.
func (i *Inventory) Stop() error {
	if i.events == nil {
		return nil
	}
	return i.events.Close()
}

// Paths returns the parser of cgroup paths, for events that other programs send.
func (i *Inventory) Paths() cgroup.Parser { return i.paths }

// Host returns a struct root of bpf/process.h: what init sees. Other programs have a
// variable for it.
func (i *Inventory) Host() any { return i.host }

// HostRoot returns the parts of Host: the addresses of the mount and the directory, and the
// number of the mount namespace.
func (i *Inventory) HostRoot() (mount, directory, namespace uint64) {
	return i.host.Mount, i.host.Directory, i.host.MountNamespace
}

// ReadCgroup waits for a cgroup that has been made. The error is ErrClosed after Stop;
// others say that one could not be read, and the next may be.
func (i *Inventory) ReadCgroup() (cgroup.Cgroup, error) {
	record, err := i.events.Read()
	if err != nil {
		return cgroup.Cgroup{}, fmt.Errorf("reading new cgroups: %w", err)
	}
	return i.paths.Decode(record.RawSample)
}

// Processes lists all processes.
func (i *Inventory) Processes() ([]process.Event, error) { return i.processes(0) }

// Locate returns who a process is, and in which cgroup. The error is process.ErrGone if it
// has ended.
func (i *Inventory) Locate(pid int) (process.Event, error) {
	all, err := i.processes(pid)
	if err == nil && len(all) == 0 {
		err = process.ErrGone
	}
	if err != nil {
		return process.Event{}, fmt.Errorf("locating process %d: %w", pid, err)
	}
	return all[0], nil
}

// processes returns the one with this pid, or all of them for 0.
func (i *Inventory) processes(pid int) ([]process.Event, error) {
	i.once.Lock()
	defer i.once.Unlock()
	if err := errors.Join(i.objs.WantedPid.Set(uint32(pid)), i.objs.ListedCgroup.Set(bpfCgroupKey{})); err != nil {
		return nil, fmt.Errorf("setting the process to list: %w", err)
	}
	list, err := i.list.Open()
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	defer list.Close()
	var all []process.Event
	err = process.DecodeAll(list, 0, i.paths, func(_ []byte, p process.Event) { all = append(all, p) })
	return all, err
}

// File returns which file a descriptor is of, as the programs in the kernel identify it:
// some file systems show another device in stat.
func (i *Inventory) File(fd int) (process.FileID, error) {
	i.once.Lock()
	defer i.once.Unlock()
	if ret, err := i.objs.IdentifyFile.Run(&ebpf.RunOptions{Context: [2]uint64{uint64(fd)}}); err != nil || ret != 0 {
		return process.FileID{}, errors.Join(errors.New("asking the kernel for a file"), err)
	}
	var id bpfFileId
	if err := i.objs.Identified.Get(&id); err != nil {
		return process.FileID{}, fmt.Errorf("reading which file it is: %w", err)
	}
	return process.FileID{Inode: id.Inode, Device: id.Device, Generation: id.Generation}, nil
}

// Own returns which file the caller's own program is, in any PID namespace.
func (i *Inventory) Own() (process.FileID, error) {
	fd, err := unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return process.FileID{}, fmt.Errorf("opening the own program: %w", err)
	}
	defer unix.Close(fd)
	return i.File(fd)
}

// Lost returns how many new cgroups were not reported, because the ring buffer was full.
func (i *Inventory) Lost() (uint64, error) {
	var n uint64
	if err := i.objs.LostCgroups.Get(&n); err != nil {
		return 0, fmt.Errorf("reading how many cgroups were lost: %w", err)
	}
	return n, nil
}
