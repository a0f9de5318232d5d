package match

import "cmp"

// A searcher searches the bans in a stream of bytes. The kernel program of execwhacker takes
// the same steps through the same tables.
type searcher struct {
	m       *Matcher
	ignored Flags // entries with one of these are ignored
	env     bool  // the stream is an environment
	state   uint32
	window  uint64 // the last 8 symbols
	shift   uint8  // for the class of the next byte
	pending uint32 // Cell.Entry of the last state: its bans match if no word character follows
	open    found  // bans that match if the program's name ends without another "/"
	found
	triggered bool
}

// found has 1 + the index of the first ban found that kills, and of the first that observes,
// each with InEnvironment if it is found there.
type found struct{ kill, observe uint32 }

// InEnvironment is added to the number of a ban that matches in the environment.
const InEnvironment = 1 << 31

func (f found) first() uint32 { return cmp.Or(f.kill, f.observe) }

// add keeps the first ban of each kind.
func (f *found) add(other found) {
	f.kill, f.observe = cmp.Or(f.kill, other.kill), cmp.Or(f.observe, other.observe)
}

func (m *Matcher) searcher(ignored Flags) searcher {
	return searcher{m: m, ignored: ignored, window: ^uint64(0), shift: wordStart}
}

// searchCommand searches the bans of texts in a command line. It may miss one that observes
// if it has found one that kills. rest are texts of the arguments.
func (m *Matcher) searchCommand(path, argv0 []byte, rest [][]byte, ignored Flags) (f found, triggered bool) {
	s := m.searcher(ignored)
	s.step(boundaryClass)
	s.feed(argv0)
	s.step(boundaryClass)
	s.feed(path)
	// The path is both the end of the program's name and, without a boundary, the
	// beginning of the subject. So the boundary is tried on a copy.
	name := s
	name.step(boundaryClass)
	s.found, s.open = name.found, found{}
	for _, text := range rest {
		s.feed(text)
	}
	s.step(classOf(invalid))
	return s.found, s.triggered
}

// searchEnv searches the bans of texts in an environment.
func (m *Matcher) searchEnv(env []byte, ignored Flags) (f found, triggered bool) {
	s := m.searcher(ignored)
	s.env = true
	s.feed(env)
	s.step(classOf(invalid))
	return s.found, s.triggered
}

func (s *searcher) feed(text []byte) {
	for _, b := range text {
		if s.kill != 0 {
			return
		}
		if b == '/' {
			s.open = found{}
		}
		s.step(classOf(b))
	}
}

// step reads a byte of class c.
func (s *searcher) step(c class) {
	if c == boundaryClass {
		s.add(s.open)
		s.open = found{}
	}
	if !c.isWord() {
		s.take(s.pending, EndsWord)
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
	s.pending = s.m.Cells[state].Entry
	s.take(s.pending, 0)
}

// take records the bans of a list of entries whose EndsWord is that of word.
func (s *searcher) take(at uint32, word Flags) {
	for ; at != 0; at = s.m.Entries[at].Next {
		e := s.m.Entries[at]
		if e.Flags&EndsWord != word || e.Flags&s.ignored != 0 {
			continue
		}
		f := e.found(s.env)
		switch {
		case e.Flags&Triggers != 0:
			s.triggered = true
		case e.Flags&OpenEnd != 0:
			s.open.add(f)
		default:
			s.add(f)
		}
	}
}

// found returns what an entry means in a command line or in an environment.
func (e Entry) found(env bool) found {
	switch ban := e.Ban | InEnvironment; {
	case !env && e.Flags&Kills != 0:
		return found{kill: e.Ban}
	case !env:
		return found{observe: e.Ban}
	case e.Flags&KillsInEnv != 0:
		return found{kill: ban}
	case e.Flags&ObservesInEnv != 0:
		return found{observe: ban}
	}
	return found{}
}
