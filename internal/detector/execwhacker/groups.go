package execwhacker

import "github.com/cryptnono/cryptnono/internal/process"

// A group holds the processes that run the same program since the same exec, at least one.
type group []suspect

// grouped returns groups in the order of their first processes. A process whose exec is
// not known is a group of its own.
func grouped(all []suspect) []group {
	places := make(map[uint64]int, len(all))
	groups := make([]group, 0, len(all))
	for i, p := range all {
		at, ok := places[p.exec]
		if ok && p.exec != 0 {
			groups[at] = append(groups[at], p)
			continue
		}
		places[p.exec] = len(groups)
		groups = append(groups, all[i:i+1:i+1])
	}
	return groups
}

// byUser divides a group whose exec was not seen by user. Nothing proves the arguments of
// its processes, so a process may have forged them: they are evidence only against
// processes of the same user. A server may run the code of users in its forks.
func (g group) byUser() (users []group) {
	if g[0].seen() {
		return []group{g}
	}
	places := make(map[uint32]int)
	for _, s := range g {
		at, ok := places[s.UID]
		if !ok {
			at = len(users)
			places[s.UID], users = at, append(users, nil)
		}
		users[at] = append(users[at], s)
	}
	return users
}

// forget deletes the verdicts on execs that no process runs any more.
func (s *scanner) forget(groups []group) {
	there := make(map[uint64]bool, len(groups))
	for _, g := range groups {
		there[g[0].exec] = true
	}
	for exec := range s.judged {
		if !there[exec] {
			delete(s.judged, exec)
		}
	}
}

// concluded reports whether all in a group were judged before.
func (s *scanner) concluded(g group) bool {
	who, ok := s.judged[g[0].exec]
	return ok && (who == process.Who{} || len(g) == 1 && who == g[0].Who)
}

// conclude notes that a group has been judged, or only one process of it.
func (s *scanner) conclude(g group, one *suspect) {
	if g[0].exec == 0 {
		return
	}
	var who process.Who
	if one != nil {
		who = one.Who
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judged[g[0].exec] = who
}
