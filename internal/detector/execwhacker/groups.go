package execwhacker

import "github.com/cryptnono/cryptnono/internal/process"

// A group has the processes, at least one, that run the program of the same exec: the process
// that executed it and its forks.
type group []suspect

// grouped returns groups in the order of their first processes. A process whose exec is
// unknown is a separate group.
func grouped(all []suspect) []group {
	indexes := make(map[uint64]int, len(all))
	groups := make([]group, 0, len(all))
	for i, p := range all {
		at, ok := indexes[p.exec]
		if ok && p.exec != 0 {
			groups[at] = append(groups[at], p)
			continue
		}
		indexes[p.exec] = len(groups)
		groups = append(groups, all[i:i+1:i+1])
	}
	return groups
}

// byUser divides a group by user if the kernel program did not see its exec. There is no
// fingerprint then, so a process may have forged its arguments, and they are evidence only
// against processes of the same user. A server may run code of several users in its forks.
func (g group) byUser() (users []group) {
	if g[0].seen() {
		return []group{g}
	}
	indexes := make(map[uint32]int)
	for _, s := range g {
		at, ok := indexes[s.UID]
		if !ok {
			at = len(users)
			indexes[s.UID], users = at, append(users, nil)
		}
		users[at] = append(users[at], s)
	}
	return users
}

// dropEnded removes the execs whose program no process runs any more from judged.
func (s *scanner) dropEnded(groups []group) {
	running := make(map[uint64]bool, len(groups))
	for _, g := range groups {
		running[g[0].exec] = true
	}
	for exec := range s.judged {
		if !running[exec] {
			delete(s.judged, exec)
		}
	}
}

// isJudged reports whether all processes of a group have been judged.
func (s *scanner) isJudged(g group) bool {
	one, ok := s.judged[g[0].exec]
	return ok && (one == process.Instance{} || len(g) == 1 && one == g[0].Instance())
}

// markJudged records that a group has been judged, or only one process of it.
func (s *scanner) markJudged(g group, one *suspect) {
	if g[0].exec == 0 {
		return
	}
	var instance process.Instance
	if one != nil {
		instance = one.Instance()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judged[g[0].exec] = instance
}
