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
	// cacheBytes is what RandomX needs in memory at least, whatever its mode
	// (RandomX, configuration.h: ArgonMemory). A hash reads it at random
	// places 16,384 times, so that it has to be resident.
	cacheBytes = 256 * mib
	// leastDataset and mostDataset bound how much private writable memory RandomX maps
	// in fast mode: a dataset of 2080 MiB, in huge pages of 1 GiB at most, and perhaps
	// the cache. malloc adds a little.
	leastDataset, mostDataset = 2080 * mib, (3072 + 256 + 64) * mib
)

// randomXBytes is how much resident memory speaks for RandomX: its cache, less the
// error of the kernel's count, which each CPU delays by up to a batch of pages
// (percpu_counter, since 6.2), but half of it at least.
func randomXBytes() uint64 {
	cpus := uint64(runtime.NumCPU())
	delayed := cpus * max(32, 2*cpus) * uint64(os.Getpagesize())
	return cacheBytes - min(delayed, cacheBytes/2)
}

// A usage is how much memory a process has, in bytes.
type usage struct {
	resident uint64 // with huge pages
	writable uint64 // private and mapped to be written, whether it was or not
}

// ofRandomX reports whether it is as much as RandomX needs. What is mapped counts where
// it is as much as the dataset; more than that is any large program's.
func (u usage) ofRandomX() bool {
	return u.resident >= randomXBytes() || u.writable >= leastDataset && u.writable <= mostDataset
}

// readUsage returns the memory of a process, as the kernel counts it for one of its
// threads. It takes no lock and reads no memory map: neither the number of mappings nor
// a process that holds the lock of its memory delays it. What the memory is mapped from,
// and in how many pieces, makes no difference to what is resident.
func readUsage(h *process.Handle, k key, tid int) (usage, error) {
	u, err := usageIn(fmt.Sprintf("/proc/%d/task", k.pid), tid)
	if err != nil { // the thread has ended, the process may live on
		u, err = usageIn("/proc", k.pid)
	}
	if gone := h.Alive(); gone != nil {
		return usage{}, gone
	}
	if err != nil {
		return usage{}, fmt.Errorf("reading how much memory process %d has: %w", k.pid, err)
	}
	return u, nil
}

// usageIn parses the file status of a process or thread in a folder. At most 1 MiB of the
// file is read; a list of 65,536 groups, the longest part, has 0.7 MiB.
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
		return usage{}, errors.New("it has no memory any more")
	}
	return usage{resident: s.VmRSS + s.HugetlbPages, writable: s.VmData}, nil
}
