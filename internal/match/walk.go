package match

import "cmp"

// A walker searches the bans in a stream of bytes. The kernel has its twin
// (walk.bpf.h and match.bpf.h of execwhacker): the same tables, the same steps.
type walker struct {
	m       *Matcher
	state   uint32
	window  uint64 // the last 8 symbols
	shift   uint8  // for the class of the next byte
	pending uint32 // Cell.Found whose word bans hold if no word character follows
	// 1 + the first ban found that kills, and that observes.
	kill, observe uint32
}

// search returns 1 + the index of the bans that decide on a command line: the
// first that kills, and if there is none the first that observes.
func (m *Matcher) search(path, argv0, rest []byte) (kill, observe uint32) {
	w := walker{m: m, window: ^uint64(0), shift: between}
	w.push(edgeClass)
	w.text(argv0)
	w.push(edgeClass)
	w.text(path)
	// A program's name ends here, but the subject goes on: look ahead.
	ahead := w
	ahead.push(edgeClass)
	w.kill, w.observe = ahead.kill, ahead.observe
	w.text(rest)
	w.push(classOf(invalid))
	return w.kill, w.observe
}

func (w *walker) text(b []byte) {
	for _, c := range b {
		if w.kill != 0 {
			return
		}
		w.push(classOf(c))
	}
}

func (w *walker) push(c class) {
	if w.pending != 0 && !c.isWord() {
		f := w.m.Found[w.pending]
		w.take(f.WordKill, f.WordObserve)
	}
	w.pending = 0
	sym := c.symbol(w.shift)
	w.shift = c.shift()
	w.window = w.window<<8 | uint64(sym)
	for w.state != idle {
		if next, ok := w.m.follow(w.state, sym); ok {
			w.enter(next)
			return
		}
		w.state = w.m.Cells[w.state].Fail
	}
	if w.m.Filter.has(w.window) {
		w.enter(w.m.begin(w.window))
	}
}

func (w *walker) enter(state uint32) {
	w.state = state
	if found := w.m.Cells[state].Found; found != 0 {
		f := w.m.Found[found]
		w.take(f.Kill, f.Observe)
		w.pending = found
	}
}

func (w *walker) take(kill, observe uint32) {
	w.kill = cmp.Or(w.kill, kill)
	w.observe = cmp.Or(w.observe, observe)
}
