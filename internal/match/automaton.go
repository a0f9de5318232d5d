package match

import "cmp"

// A Cell is one element of the double array that holds the automaton, in the layout that
// the kernel reads.
//
// The automaton is that of Aho and Corasick, as a double array (Aoe, "An Efficient Digital
// Search Algorithm by Using a Double-Array Structure", 1989): a state is the number of its
// cell, and the child of state s on symbol c is cell Base[s]+c if the Check of that cell is s.
type Cell struct {
	Base   uint32
	Check  uint32 // the parent state, or free
	Fail   uint32 // the failure link; root if the state that it would lead to is shorter than the prefix
	Output uint32 // index in Outputs; 0 for a state without output
}

const (
	root = 0
	free = ^uint32(0)
)

// An Output holds the bans that match in a state, each as 1 + its index in Set.Bans, or 0
// for none. The first killing and the first observing ban are kept, and the same of the
// bans that match only if no word character follows.
type Output struct {
	Kill, Observe         uint32
	WordKill, WordObserve uint32
}

// or returns o with the fields that are 0 taken from other.
func (o Output) or(other Output) Output {
	return Output{
		cmp.Or(o.Kill, other.Kill), cmp.Or(o.Observe, other.Observe),
		cmp.Or(o.WordKill, other.WordKill), cmp.Or(o.WordObserve, other.WordObserve),
	}
}

// A keyword is a string of symbols that the automaton searches, and its output.
type keyword struct {
	text   []byte
	output Output
}

// maxPrefix is 7, since the kernel's table of classes has seven bits for Filter.Positions.
const maxPrefix = 7

// An Automaton finds keywords in a stream of symbols.
//
// A search does not pass through the states that are shorter than Prefix. In the root it
// asks Filter at each symbol, and enters the automaton at depth Prefix.
type Automaton struct {
	Cells   []Cell
	Outputs []Output
	Prefix  int // symbols, at most maxPrefix; no keyword is shorter
	Filter  Filter
}

// enter returns the state of the last Prefix symbols of window. It returns root if there is
// none, as after a false positive of the filter.
func (a *Automaton) enter(window uint64) uint32 {
	state := uint32(root)
	for i := a.Prefix - 1; i >= 0; i-- {
		next, ok := a.child(state, byte(window>>(8*i)))
		if !ok {
			return root
		}
		state = next
	}
	return state
}

// child returns the state that state s leads to on sym.
func (a *Automaton) child(s uint32, sym byte) (uint32, bool) {
	next := a.Cells[s].Base + uint32(sym)
	return next, int(next) < len(a.Cells) && a.Cells[next].Check == s
}
