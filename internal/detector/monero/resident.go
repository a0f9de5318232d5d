package monero

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/prometheus/procfs"

	"github.com/cryptnono/cryptnono/internal/process"
)

const (
	mib = 1 << 20
	// cacheBytes is the size of RandomX's cache, which it needs in each mode (RandomX,
	// configuration.h: ArgonMemory). A hash reads it at 16,384 random places, so it must be
	// resident.
	cacheBytes = 256 * mib
	// minDataset and maxDataset bound the private writable memory that RandomX maps in fast
	// mode: a dataset of 2080 MiB, rounded up to huge pages of up to 1 GiB, perhaps the
	// cache, and 64 MiB for the rest.
	minDataset, maxDataset = 2080 * mib, (3072 + 256 + 64) * mib
)

// leastResident returns the minimum resident memory of RandomX: its cache, less the error of
// the kernel's counter, but at least half of the cache. Since 6.2 each CPU adds to the counter
// in batches of pages (percpu_counter).
func leastResident() uint64 {
	cpus := uint64(runtime.NumCPU())
	delayed := cpus * max(32, 2*cpus) * uint64(os.Getpagesize())
	return cacheBytes - min(delayed, cacheBytes/2)
}

// A usage is the memory of a process, in bytes.
type usage struct {
	resident uint64 // including huge pages
	writable uint64 // private writable mappings, resident or not
}

// enoughToMine reports whether RandomX can run in this memory. Mapped memory counts only
// within the bounds of the dataset, because many large programs map more.
func (u usage) enoughToMine() bool {
	return u.resident >= leastResident() || u.writable >= minDataset && u.writable <= maxDataset
}

// readUsage returns the memory of a process from the status file of one of its threads. The
// kernel takes no lock of the process for it and does not walk its mappings, so a process
// cannot delay it by many mappings or by holding its mmap lock.
func readUsage(h *process.Handle, k process.Execution, tid int) (usage, error) {
	u, err := usageIn(fmt.Sprintf("/proc/%d/task", k.PID), tid)
	if err != nil { // the thread has ended, the process may live on
		u, err = usageIn("/proc", k.PID)
	}
	if gone := h.Alive(); gone != nil {
		return usage{}, gone
	}
	if err != nil {
		return usage{}, fmt.Errorf("reading the memory usage of process %d: %w", k.PID, err)
	}
	return u, nil
}

// usageIn parses folder/id/status of a process or thread. It reads at most 1 MiB; the longest
// part, a list of 65,536 groups, has 0.7 MiB.
func usageIn(folder string, id int) (usage, error) {
	fs, err := procfs.NewFS(folder)
	if err != nil {
		return usage{}, err
	}
	p, err := fs.Proc(id)
	if err != nil {
		return usage{}, err
	}
	s, err := p.NewStatus()
	switch {
	case err != nil:
		return usage{}, err
	case s.VmSize == 0:
		return usage{}, errors.New("it has no address space") // a zombie
	}
	return usage{resident: s.VmRSS + s.HugetlbPages, writable: s.VmData}, nil
}
