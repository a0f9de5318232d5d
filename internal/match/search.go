package match

import "cmp"

// A searcher searches the bans in a stream of bytes. The kernel program of execwhacker takes
// the same steps through the same tables.
type searcher struct {
	m       *Matcher
	state   uint32
	window  uint64 // the last 8 symbols
	shift   uint8  // for the class of the next byte
	pending uint32 // Cell.Output of the last state: its word bans match if no word character follows
	// 1 + the index of the first ban found that kills, and of the first that observes.
	kill, observe uint32
}

// search returns 1 + the index of the first ban that kills and of the first that observes,
// 0 for none. It may miss the latter if it has found the former.
func (m *Matcher) search(path, argv0, rest []byte) (kill, observe uint32) {
	s := searcher{m: m, window: ^uint64(0), shift: wordStart}
	s.step(boundaryClass)
	s.feed(argv0)
	s.step(boundaryClass)
	s.feed(path)
	// The path is both the end of the program's name and, without a boundary, the
	// beginning of the subject. So the boundary is tried on a copy.
	name := s
	name.step(boundaryClass)
	s.kill, s.observe = name.kill, name.observe
	s.feed(rest)
	s.step(classOf(invalid))
	return s.kill, s.observe
}

func (s *searcher) feed(text []byte) {
	for _, b := range text {
		if s.kill != 0 {
			return
		}
		s.step(classOf(b))
	}
}

// step reads a byte of class c.
func (s *searcher) step(c class) {
	if s.pending != 0 && !c.isWord() {
		o := s.m.Outputs[s.pending]
		s.record(o.WordKill, o.WordObserve)
	}
	s.pending = 0
	sym := c.symbol(s.shift)
	s.shift = c.shift()
	s.window = s.window<<8 | uint64(sym)
	for s.state != root {
		if next, ok := s.m.child(s.state, sym); ok {
			s.moveTo(next)
			return
		}
		s.state = s.m.Cells[s.state].Fail
	}
	if s.m.Filter.mayContain(s.window) {
		s.moveTo(s.m.enter(s.window))
	}
}

func (s *searcher) moveTo(state uint32) {
	s.state = state
	if output := s.m.Cells[state].Output; output != 0 {
		o := s.m.Outputs[output]
		s.record(o.Kill, o.Observe)
		s.pending = output
	}
}

// record keeps the first ban of each kind.
func (s *searcher) record(kill, observe uint32) {
	s.kill = cmp.Or(s.kill, kill)
	s.observe = cmp.Or(s.observe, observe)
}
