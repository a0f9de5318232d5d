package match

import "cmp"

// A Cell is one state of the automaton, in the layout that the kernel reads.
//
// The states form an Aho-Corasick automaton kept as a double array (Aoe, "An
// Efficient Digital Search Algorithm by Using a Double-Array Structure", 1989):
// the state behind state s and symbol c is cell Base[s]+c if the Check of that
// cell is s.
type Cell struct {
	Base  uint32
	Check uint32 // the state before this one, or free
	Fail  uint32 // the longest proper suffix that is a state too; idle if shorter than the prefix
	Found uint32 // index of what is found here; 0 is nothing
}

const (
	// idle is the root of the automaton. The walkers never walk through the
	// states next to it: they enter at the depth of the prefix.
	idle = 0
	free = ^uint32(0)
)

// Found holds the bans that end in a state, as 1 + their index in Set.Bans, 0
// for none: of those that kill and of those that observe the first, and the same
// of those that must not be followed by a word character.
type Found struct {
	Kill, Observe         uint32
	WordKill, WordObserve uint32
}

// or fills the gaps of f from g.
func (f Found) or(g Found) Found {
	return Found{
		cmp.Or(f.Kill, g.Kill), cmp.Or(f.Observe, g.Observe),
		cmp.Or(f.WordKill, g.WordKill), cmp.Or(f.WordObserve, g.WordObserve),
	}
}

// A phrase is a string of symbols and what is found where it ends.
type phrase struct {
	text  []byte
	found Found
}

// maxPrefix leaves a bit of the eight of Filter.Places to the kernel's walker.
const maxPrefix = 7

// An Automaton finds phrases in a stream of symbols.
type Automaton struct {
	Cells  []Cell
	Found  []Found
	Prefix int // symbols, up to maxPrefix, that tell whether to enter; no phrase is shorter
	Filter Filter
}

// begin returns the state to which the window's last symbols lead from the root,
// idle if there is none: the filter has false alarms.
func (a *Automaton) begin(window uint64) uint32 {
	state := uint32(idle)
	for i := a.Prefix - 1; i >= 0; i-- {
		next, ok := a.follow(state, byte(window>>(8*i)))
		if !ok {
			return idle
		}
		state = next
	}
	return state
}

// follow returns the state behind s and sym.
func (a *Automaton) follow(s uint32, sym byte) (uint32, bool) {
	next := a.Cells[s].Base + uint32(sym)
	return next, int(next) < len(a.Cells) && a.Cells[next].Check == s
}
