package monero

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
)

const mib = 1 << 20

// A mapping is a range of a process's memory.
type mapping struct {
	start, end uint64
	perms      string // such as "r-xp"
	file       string // device and inode, empty for none
	path       string
	madeUp     bool // filled by the process, not by a compiler
}

func (m mapping) size() uint64 { return m.end - m.start }

// memory is what a process has mapped, in order.
type memory []mapping

// parseMaps parses /proc/PID/maps. Lines that are none of the kernel's are left
// out: a path in one may hold any byte, but a newline is escaped.
func parseMaps(maps []byte) memory {
	var m memory
	written := make(map[string]bool) // files that the process can write to as memory
	for line := range bytes.Lines(maps) {
		e, ok := parseMapping(string(line))
		if !ok {
			continue
		}
		m = append(m, e)
		if e.perms[1] == 'w' && e.perms[3] == 's' {
			written[e.file] = true
		}
	}
	for i := range m {
		e := &m[i]
		e.madeUp = !isKernels(e.path) && (e.file == "" || written[e.file] || inMemory(e.path))
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
	if err1 != nil || err2 != nil || start >= end || len(fields[1]) != 4 {
		return mapping{}, false
	}
	e := mapping{start: start, end: end, perms: fields[1]}
	if fields[4] != "0" {
		e.file = fields[3] + " " + fields[4]
	}
	if len(fields) > 5 {
		e.path = fields[5]
	}
	return e, true
}

// isKernels reports whether a mapping is of code that the kernel brings.
func isKernels(path string) bool { return path == "[vdso]" || path == "[vsyscall]" }

// inMemory reports whether a mapped file lives in memory only.
func inMemory(path string) bool {
	return slices.ContainsFunc([]string{"/memfd:", "/dev/shm/", "/dev/zero", "/SYSV", "/anon_hugepage"},
		func(prefix string) bool { return strings.HasPrefix(path, prefix) })
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
// cache in light mode or its dataset in fast mode, and memory for a scratchpad
// (RandomX, configuration.h and doc/specs.md). It is empty if they are not there.
//
// A mapping may be larger: malloc adds a page, huge pages round up, to 1 GiB at
// most, and the kernel joins neighbours, such as the scratchpads of threads.
func (m memory) randomX() string {
	const scratchpad, slack = 2 * mib, 64 * mib
	for _, c := range []struct {
		name        string
		least, most uint64
	}{
		{"cache", 256 * mib, 256*mib + slack},
		{"dataset", 2080 * mib, 3072*mib + slack}, // or dataset and cache
	} {
		for _, e := range m {
			if !e.madeUp || e.size() < c.least || e.size() > c.most {
				continue
			}
			isScratchpad := func(other mapping) bool {
				return other.madeUp && other.start != e.start && other.perms[1] == 'w' && other.size() >= scratchpad
			}
			if e.size() >= c.least+scratchpad || slices.ContainsFunc(m, isScratchpad) {
				return fmt.Sprintf("%s of %d MiB", c.name, e.size()/mib)
			}
		}
	}
	return ""
}
