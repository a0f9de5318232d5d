// Package inventory lists the cgroups and processes of the machine with BPF programs. In a
// container, /proc and cgroupfs show the agent only its own namespaces.
package inventory

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/bpflist"
	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/kernelbtf"
	"github.com/cryptnono/cryptnono/internal/process"
)

// ErrClosed means that the inventory was closed.
var ErrClosed = ringbuf.ErrClosed

// An Inventory reports new cgroups from Load to Close. It is safe for concurrent use.
type Inventory struct {
	paths    cgroup.Parser
	objs     bpfObjects
	host     bpfRoot // mount namespace and root directory of init
	mkdir    link.Link
	iterator *bpflist.Iterator
	events   *ringbuf.Reader
	run      sync.Mutex // held while a program is run on demand
}

// Load loads and attaches the programs. ReadCgroup reports cgroups that are created after
// that.
func Load(paths cgroup.Parser) (*Inventory, error) {
	i := &Inventory{paths: paths}
	if err := i.load(); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

func (i *Inventory) load() error {
	if err := loadBpfObjects(&i.objs, &ebpf.CollectionOptions{Cache: kernelbtf.Cache}); err != nil {
		return fmt.Errorf("loading the inventory's programs: %w", err)
	}
	var err error
	if i.events, err = ringbuf.NewReader(i.objs.NewCgroups); err != nil {
		return fmt.Errorf("opening the ring buffer of new cgroups: %w", err)
	}
	if i.iterator, err = bpflist.Attach(i.objs.ListProcesses); err != nil {
		return err
	}
	if i.mkdir, err = link.AttachTracing(link.TracingOptions{Program: i.objs.ReportCgroup}); err != nil {
		return fmt.Errorf("attaching to the tracepoint cgroup_mkdir: %w", err)
	}
	if ret, err := i.objs.FindHost.Run(&ebpf.RunOptions{}); err != nil || ret != 0 {
		return errors.Join(errors.New("locating the mount namespace of init"), err)
	}
	if err := i.objs.Host.Get(&i.host); err != nil {
		return fmt.Errorf("reading the mount namespace of init: %w", err)
	}
	return nil
}

// Close detaches the programs and closes all resources of Load.
func (i *Inventory) Close() error {
	var errs []error
	if i.mkdir != nil {
		errs = append(errs, i.mkdir.Close())
	}
	return errors.Join(append(errs, i.iterator.Close(), i.Stop(), i.objs.Close())...)
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

// Host returns the struct root (bpf/process.h) of init, for the variable of other
// programs.
func (i *Inventory) Host() any { return i.host }

// HostRoot returns the fields of Host: the addresses of mount and directory, and the inode
// number of the mount namespace.
func (i *Inventory) HostRoot() (mount, directory, namespace uint64) {
	return i.host.Mount, i.host.Directory, i.host.MountNamespace
}

// ReadCgroup waits for a new cgroup and returns its struct cgroup_path (bpf/process.h), which
// Paths decodes. After Stop, the error is ErrClosed.
func (i *Inventory) ReadCgroup() ([]byte, error) {
	record, err := i.events.Read()
	if err != nil {
		return nil, fmt.Errorf("reading new cgroups: %w", err)
	}
	return record.RawSample, nil
}

// Processes returns all processes.
func (i *Inventory) Processes() ([]process.Event, error) { return i.processes(0) }

// Locate returns a process with its cgroup. The error is process.ErrGone if it has ended.
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

// processes returns the process with this pid, or all processes for 0.
func (i *Inventory) processes(pid int) (all []process.Event, err error) {
	err = i.list(pid, func(_ uint64, p process.Event) { all = append(all, p) })
	return all, err
}

// list visits the process with this pid, or all processes for 0, with the numbers of their execs.
func (i *Inventory) list(pid int, visit func(exec uint64, p process.Event)) error {
	i.run.Lock()
	defer i.run.Unlock()
	if err := errors.Join(i.objs.WantedPid.Set(uint32(pid)), i.objs.ListedCgroup.Set(bpfCgroupKey{})); err != nil {
		return fmt.Errorf("setting the process to list: %w", err)
	}
	list, err := i.iterator.Open(nil)
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	defer list.Close()
	return process.DecodeAll(list, execSize, i.paths, func(exec []byte, p process.Event) {
		visit(binary.NativeEndian.Uint64(exec), p)
	})
}

// execSize is the size in bytes of exec_id in struct listed.
const execSize = 8

// Execution returns what a process executes now, or process.ErrGone.
func (i *Inventory) Execution(pid int) (process.Execution, error) {
	err, now := process.ErrGone, process.Execution{}
	if failed := i.list(pid, func(exec uint64, p process.Event) {
		err, now = nil, process.Execution{PID: p.PID, Start: p.Start, Exec: exec}
	}); failed != nil {
		err = failed
	}
	if err != nil {
		return process.Execution{}, fmt.Errorf("locating process %d: %w", pid, err)
	}
	return now, nil
}

// Executes returns nil while a process executes a program, and then process.ErrGone.
func (i *Inventory) Executes(x process.Execution) error {
	now, err := i.Execution(x.PID)
	if err == nil && now != x {
		err = fmt.Errorf("process %d executes another program: %w", x.PID, process.ErrGone)
	}
	return err
}

// File returns the id of an open file, as BPF programs identify it: some file systems show
// another device in stat.
func (i *Inventory) File(fd int) (process.FileID, error) {
	i.run.Lock()
	defer i.run.Unlock()
	if ret, err := i.objs.IdentifyFile.Run(&ebpf.RunOptions{Context: [2]uint64{uint64(fd)}}); err != nil || ret != 0 {
		return process.FileID{}, errors.Join(errors.New("identifying a file"), err)
	}
	var id bpfFileId
	if err := i.objs.Identified.Get(&id); err != nil {
		return process.FileID{}, fmt.Errorf("reading the id of a file: %w", err)
	}
	return process.FileID{Inode: id.Inode, Device: id.Device, Generation: id.Generation}, nil
}

// Own returns the file of this process's program, in any PID namespace.
func (i *Inventory) Own() (process.FileID, error) {
	fd, err := unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return process.FileID{}, fmt.Errorf("opening this process's program: %w", err)
	}
	defer unix.Close(fd)
	return i.File(fd)
}

// Lost returns the number of new cgroups that were not reported, because the ring buffer
// was full.
func (i *Inventory) Lost() (uint64, error) {
	var n uint64
	if err := i.objs.LostCgroups.Get(&n); err != nil {
		return 0, fmt.Errorf("reading the number of lost cgroups: %w", err)
	}
	return n, nil
}
