package kubernetes

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// objects are what a process holds in the kernel, by their numbers there.
type objects struct {
	programs []ebpf.ProgramID
	maps     []ebpf.MapID
	links    []link.ID
}

// kernelObjects reads them from what /proc says of the process's descriptors.
func kernelObjects(t *testing.T, pid int) objects {
	t.Helper()
	files, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fdinfo/*")
	if err != nil {
		t.Fatal(err)
	}
	var o objects
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // closed meanwhile
		}
		isLink := strings.Contains(string(text), "link_id:")
		for l := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(l, ":")
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
			if err != nil {
				continue
			}
			switch {
			case key == "link_id":
				o.links = append(o.links, link.ID(n))
			case key == "prog_id" && !isLink:
				o.programs = append(o.programs, ebpf.ProgramID(n))
			case key == "map_id" && !isLink:
				o.maps = append(o.maps, ebpf.MapID(n))
			}
		}
	}
	return o
}

func (o objects) total() int { return len(o.programs) + len(o.maps) + len(o.links) }

// left returns how many of them are still in the kernel.
func (o objects) left() int {
	n := 0
	for _, id := range o.programs {
		if p, err := ebpf.NewProgramFromID(id); err == nil {
			p.Close()
			n++
		}
	}
	for _, id := range o.maps {
		if m, err := ebpf.NewMapFromID(id); err == nil {
			m.Close()
			n++
		}
	}
	for _, id := range o.links {
		if l, err := link.NewFromID(id); err == nil {
			l.Close()
			n++
		}
	}
	return n
}
