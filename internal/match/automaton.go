package match

// A Cell is one element of the double array that holds the automaton, in the layout that
// the kernel reads.
//
// The automaton is that of Aho and Corasick, as a double array (Aoe, "An Efficient Digital
// Search Algorithm by Using a Double-Array Structure", 1989): a state is the number of its
// cell, and the child of state s on symbol c is cell Base[s]+c if the Check of that cell is s.
type Cell struct {
	Base  uint32
	Check uint32 // the parent state, or free
	Fail  uint32 // the failure link; root if the state that it would lead to is shorter than the prefix
	Entry uint32 // index in Entries; 0 for a state in which no ban matches
}

const (
	root = 0
	free = ^uint32(0)
)

// An Entry is a ban that matches in a state. The entries of a state are a list, in which no
// two have the same flags: of those the first ban is kept.
type Entry struct {
	Ban   uint32 // 1 + its index in Set.Bans; 0 for a trigger
	Flags Flags
	Next  uint32 // index in Entries; 0 at the end
}

// Flags say what an entry means.
type Flags uint32

const (
	Kills          Flags = 1 << iota // if the ban matches in the command line; otherwise it observes
	EndsWord                         // the ban matches only if no word character follows
	OpenEnd                          // the ban matches only if the rest of a program's name follows
	Triggers                         // expressions have to be evaluated
	SparesShells                     // see rules.Spares
	SparesNodeRoot                   //
	KillsInEnv                       // if the ban matches in the environment
	ObservesInEnv                    //
	maxEntries     = 128             // of a state, more than all combinations that Compile makes
	spares         = SparesShells | SparesNodeRoot
	searchedInEnv  = KillsInEnv | ObservesInEnv
)

// A keyword is a string of symbols that the automaton searches, and what it means. Next is
// not used.
type keyword struct {
	text    []byte
	entries []Entry
}

// maxPrefix is 7, since an element of Filter.Misses has a bit for each position, and the
// kernel shifts them.
const maxPrefix = 7

// An Automaton finds keywords in a stream of symbols.
//
// A search does not pass through the states that are shorter than Prefix. In the root it
// asks Filter at each symbol, and enters the automaton at depth Prefix.
type Automaton struct {
	Cells   []Cell
	Entries []Entry // the first one is not used
	Prefix  int     // symbols, at most maxPrefix; no keyword is shorter
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
