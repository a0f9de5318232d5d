package monero

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

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
	// maxStatusBytes is beyond the longest /proc/PID/status, of which a list of
	// up to 65,536 groups is the greatest part.
	maxStatusBytes = 2 * mib
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
	u, err := usageIn(fmt.Sprintf("/proc/%d/task/%d/status", k.pid, tid))
	if err != nil { // the thread has ended, the process may live on
		u, err = usageIn(fmt.Sprintf("/proc/%d/status", k.pid))
	}
	if gone := h.Alive(); gone != nil {
		return usage{}, gone
	}
	if err != nil {
		return usage{}, fmt.Errorf("reading how much memory process %d has: %w", k.pid, err)
	}
	return u, nil
}

func usageIn(file string) (usage, error) {
	f, err := os.Open(file)
	if err != nil {
		return usage{}, err
	}
	defer f.Close()
	return parseUsage(io.LimitReader(f, maxStatusBytes))
}

// parseUsage parses VmRSS, HugetlbPages and VmData of /proc/PID/status.
func parseUsage(status io.Reader) (usage, error) {
	var u usage
	var found bool
	lines := bufio.NewReader(status)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) { // a part of a long line is none that we ask for
			return usage{}, err
		}
		name, value, _ := strings.Cut(string(line), ":")
		if name != "VmRSS" && name != "HugetlbPages" && name != "VmData" {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 53)
		if err != nil {
			return usage{}, fmt.Errorf("parsing %s: %w", name, err)
		}
		switch name {
		case "VmData":
			u.writable = kib << 10
		case "VmRSS":
			found = true
			fallthrough
		default:
			u.resident += kib << 10
		}
	}
	if !found {
		return usage{}, errors.New("it has no memory any more")
	}
	return u, nil
}
