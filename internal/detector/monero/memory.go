package monero

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
)

// Sizes in bytes of what RandomX keeps in memory (RandomX specification,
// configuration.h): its cache in light mode, its dataset in fast mode, and a
// scratchpad a thread.
const (
	cacheBytes      = 256 << 20
	datasetBytes    = 2<<30 + 33554368
	scratchpadBytes = 2 << 20

	// slackBytes is by how much a mapping may be larger: malloc adds a page, and
	// the kernel joins neighbours, such as scratchpads.
	slackBytes = 64 << 20
)

// A mapping is a range of a process's memory.
type mapping struct {
	start, end uint64
	executable bool
	madeUp     bool // belongs to no file that anybody could have compiled
}

// memory is what a process has mapped, in order.
type memory []mapping

// parseMaps parses /proc/PID/maps. Lines that are none of the kernel's are left
// out: a path in one may hold any byte, but a newline is escaped.
func parseMaps(maps []byte) memory {
	var m memory
	for line := range bytes.Lines(maps) {
		if entry, ok := parseMapping(string(line)); ok {
			m = append(m, entry)
		}
	}
	return m
}

// parseMapping parses "START-END PERMS OFFSET DEVICE INODE PATH".
func parseMapping(line string) (mapping, bool) {
	fields := strings.Fields(line)
	if len(fields) < 5 {
		return mapping{}, false
	}
	from, to, _ := strings.Cut(fields[0], "-")
	start, err1 := strconv.ParseUint(from, 16, 64)
	end, err2 := strconv.ParseUint(to, 16, 64)
	if err1 != nil || err2 != nil || len(fields[1]) < 4 {
		return mapping{}, false
	}
	path := ""
	if len(fields) > 5 {
		path = fields[5]
	}
	return mapping{
		start:      start,
		end:        end,
		executable: fields[1][2] == 'x',
		madeUp:     madeUp(fields[4], path),
	}, true
}

// madeUp reports whether a mapping is of memory that a process fills itself:
// anonymous, or of a file that lives in memory only.
func madeUp(inode, path string) bool {
	if path == "[vdso]" || path == "[vsyscall]" {
		return false
	}
	return inode == "0" ||
		strings.HasPrefix(path, "/memfd:") || strings.HasPrefix(path, "/dev/shm/") ||
		strings.HasPrefix(path, "/dev/zero") || strings.HasPrefix(path, "/SYSV") ||
		strings.HasPrefix(path, "/anon_hugepage")
}

// at returns where an instruction lies.
func (m memory) at(ip uint64) rounding.Memory {
	i, found := slices.BinarySearchFunc(m, ip, func(e mapping, ip uint64) int {
		switch {
		case ip < e.start:
			return 1
		case ip >= e.end:
			return -1
		}
		return 0
	})
	switch {
	case !found:
		return rounding.OtherMemory
	case m[i].madeUp:
		return rounding.AnonymousMemory
	}
	return rounding.FileMemory
}

// randomX describes the mappings that RandomX needs and few others have: its
// cache or its dataset, and memory for a scratchpad. It is empty if they are
// not there.
func (m memory) randomX() string {
	for what, size := range map[string]uint64{"cache": cacheBytes, "dataset": datasetBytes} {
		i := slices.IndexFunc(m, func(e mapping) bool { return e.madeUp && e.end-e.start >= size && e.end-e.start <= size+slackBytes })
		if i < 0 {
			continue
		}
		rest := m[i].end - m[i].start - size
		for j, e := range m {
			if j != i && e.madeUp && !e.executable {
				rest = max(rest, e.end-e.start)
			}
		}
		if rest >= scratchpadBytes {
			return fmt.Sprintf("%s of %d MiB", what, (m[i].end-m[i].start)>>20)
		}
	}
	return ""
}
