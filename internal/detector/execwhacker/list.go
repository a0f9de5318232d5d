package execwhacker

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/bpflist"
	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/process"
)

// A lister lists processes with the records that the kernel keeps.
type lister struct {
	objs  *objects
	paths cgroup.Parser
	iter  *bpflist.Iterator
	mu    sync.Mutex // one reader at a time
}

func newLister(o *objects, paths cgroup.Parser) (*lister, error) {
	iter, err := bpflist.Attach(o.ListUnjudged)
	if err != nil {
		return nil, err
	}
	return &lister{objs: o, paths: paths, iter: iter}, nil
}

// unjudged returns the processes without a verdict by the rules of a generation.
func (l *lister) unjudged(generation uint32) ([]suspect, error) { return l.list(generation, 0) }

// of returns the processes that run what was executed then, and still do.
func (l *lister) of(exec uint64) ([]suspect, error) { return l.list(0, exec) }

func (l *lister) list(generation uint32, exec uint64) ([]suspect, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := errors.Join(l.objs.JudgedGeneration.Set(generation), l.objs.WantedExec.Set(exec), l.objs.ListedCgroup.Set(bpfCgroupKey{}))
	if err != nil {
		return nil, fmt.Errorf("setting which processes to list: %w", err)
	}
	list, err := l.iter.Open(nil)
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	defer list.Close()
	var all []suspect
	err = process.DecodeAll(list, recordSize, l.paths, func(record []byte, p process.Event) {
		all = append(all, suspect{p, decodeRecord(record)})
	})
	return all, err
}

// executes returns which exec a process runs now, 0 if that is not known.
func (l *lister) executes(pid int) uint64 {
	var r bpfRecord
	if err := l.objs.Records.Lookup(uint32(pid), &r); err != nil {
		return 0
	}
	return r.ExecNs
}

// condemn has the kernel end what is still forked from an exec that was found banned.
func (l *lister) condemn(exec uint64) error {
	err := l.objs.Condemned.Update(exec, uint32(0), ebpf.UpdateNoExist)
	if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
		return fmt.Errorf("condemning what a banned process has forked: %w", err)
	}
	return nil
}

// ended returns how many processes the kernel has killed for a condemned exec by now.
func (l *lister) ended(exec uint64) uint64 {
	var n uint32
	if err := l.objs.Condemned.Lookup(exec, &n); err != nil {
		return 0
	}
	return uint64(n)
}

func (l *lister) close() error { return l.iter.Close() }

// maxProcesses returns how many processes this kernel lets run at once.
func maxProcesses() (uint32, error) {
	least := uint64(1 << 22) // the largest of all pids
	for _, name := range []string{"pid_max", "threads-max"} {
		text, err := os.ReadFile("/proc/sys/kernel/" + name)
		if err != nil {
			return 0, fmt.Errorf("asking for the limit of processes: %w", err)
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
		if err != nil {
			return 0, fmt.Errorf("reading the limit of processes: %w", err)
		}
		least = min(least, n)
	}
	return uint32(max(least, 1)), nil
}
