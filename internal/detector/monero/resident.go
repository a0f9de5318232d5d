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

// resident returns how many bytes of a process's memory are resident, huge pages
// included, as the kernel counts them for one of its threads. It takes no lock and reads
// no memory map: neither the number of mappings nor a process that holds the lock
// of its memory delays it. What the memory is mapped from, and in how many pieces,
// makes no difference.
func resident(h *process.Handle, k key, tid int) (uint64, error) {
	bytes, err := residentIn(fmt.Sprintf("/proc/%d/task/%d/status", k.pid, tid))
	if err != nil { // the thread has ended, the process may live on
		bytes, err = residentIn(fmt.Sprintf("/proc/%d/status", k.pid))
	}
	if gone := h.Alive(); gone != nil {
		return 0, gone
	}
	if err != nil {
		return 0, fmt.Errorf("reading how much memory process %d has: %w", k.pid, err)
	}
	return bytes, nil
}

func residentIn(file string) (uint64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return parseResident(io.LimitReader(f, maxStatusBytes))
}

// parseResident adds up VmRSS and HugetlbPages of /proc/PID/status.
func parseResident(status io.Reader) (uint64, error) {
	var sum uint64
	var found bool
	lines := bufio.NewReader(status)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) { // a part of a long line is none that we ask for
			return 0, err
		}
		name, value, _ := strings.Cut(string(line), ":")
		if name != "VmRSS" && name != "HugetlbPages" {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 53)
		if err != nil {
			return 0, fmt.Errorf("parsing %s: %w", name, err)
		}
		sum += kib << 10
		found = found || name == "VmRSS"
	}
	if !found {
		return 0, errors.New("it has no memory any more")
	}
	return sum, nil
}
