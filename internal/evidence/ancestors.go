package evidence

import (
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/process"
)

// maxAncestors bounds the ancestors of a process in its line.
const maxAncestors = 16

// An Ancestor of a process is its parent, or a parent of that, as the kernel saw it.
type Ancestor struct {
	PID     int
	Start   time.Duration // as in process.Who
	UID     uint32
	Cgroup  uint64 // id of its own
	Program string // name of its file, not of a directory, perhaps cut
}

// maxAncestorName is the maximum length of Program in bytes: see struct ancestor in bpf/lineage.h.
const maxAncestorName = 39

// executes reports whether Program may be the name of a file whose path is as in /proc.
func (a *Ancestor) executes(file string) bool {
	name := path.Base(strings.TrimSuffix(file, " (deleted)"))
	return file != "" && name[:min(len(name), maxAncestorName)] == a.Program
}

// A shownAncestor is one in the log.
type shownAncestor struct {
	PID     int    `json:"pid"`
	UID     uint32 `json:"uid"`
	Program string `json:"program"`
	Ended   bool   `json:"ended,omitempty"` // then the kernel saw it
}

// ancestors returns the ancestors of a process, the nearest first, up to the first process of its
// container: those that still run, and those that the kernel saw.
func (s *Subject) ancestors(in *peers) (all []shownAncestor) {
	pid, before := s.PPID, s.Start
	for i := 0; len(all) < maxAncestors; i++ {
		seen := i < len(s.Ancestors)
		var was Ancestor
		if seen {
			was = s.Ancestors[i]
			pid = was.PID
		}
		info, ok := runs(pid, before)
		if ok && seen {
			ok = info.Start == was.Start
		}
		start := info.Start
		switch {
		case !ok && !seen:
			return all
		case !ok:
			start = was.Start
		}
		if !s.isWithin(in, pid, start, was.Cgroup) {
			return all
		}
		if ok {
			a := shownAncestor{PID: pid, UID: info.UID, Program: programOf(info)}
			if seen {
				a.UID = was.UID
				if !was.executes(info.Program) { // another one now
					a.Program = printable.Text([]byte(was.Program), maxShort)
				}
			}
			all = append(all, a)
		} else {
			all = append(all, shownAncestor{PID: pid, UID: was.UID, Program: printable.Text([]byte(was.Program), maxShort), Ended: true})
			info.PPID = 0 // unless the kernel saw more
		}
		pid, before = info.PPID, start
	}
	return all
}

// runs describes a process that started before a time, or at it. It returns false if there is none.
func runs(pid int, before time.Duration) (info process.Info, ok bool) {
	if pid <= 0 {
		return info, false
	}
	info, _, err := process.Describe(pid)
	return info, err == nil && !info.KernelThread && (before <= 0 || info.Start <= before) // else its number was used again
}

func programOf(info process.Info) string {
	program := info.Program
	if program == "" {
		program = info.Comm // it has ended, and waits for its parent
	}
	return printable.Text([]byte(program), maxShort)
}

// isWithin reports whether a process is in the container of the subject, if that is in one. at is the id
// of its cgroup, 0 if it is not known.
func (s *Subject) isWithin(in *peers, pid int, start time.Duration, at uint64) bool {
	c := s.Cgroup.Container
	if !c.Contained() {
		return true
	}
	for _, l := range s.Cgroup.Levels[min(c.Level, len(s.Cgroup.Levels)):] {
		if at != 0 && l.ID == at {
			return true
		}
	}
	return slices.ContainsFunc(in.list(), func(e process.Event) bool { return e.PID == pid && e.Start == start })
}
