package bytedfa

import (
	"maps"
	"regexp/syntax"
	"slices"
	"unicode"
)

// An alphabet divides runes into classes such that no instruction of a program distinguishes
// the runes of a class. The runes from one start to the next are of one class.
type alphabet struct {
	starts  []rune // ascending, from 0
	class   []int  // class of the runes from each start to the next
	member  []rune // by class: one of its runes
	context []rune // by class: how an assertion beside its runes sees them
}

// The contexts of an assertion: a rune of each kind that syntax.EmptyOpContext
// distinguishes, and its value for the begin and the end of the text.
const (
	edge    rune = -1
	newline rune = '\n'
	word    rune = 'w'
	other   rune = ' '
)

// newAlphabet returns the alphabet of prog with the fewest classes.
func newAlphabet(prog *syntax.Prog, b *budget) (*alphabet, error) {
	if len(prog.Inst) > limit(b.maxStates, 1) {
		return nil, ErrTooLarge
	}
	var asserts syntax.EmptyOp
	var sets [][]rune
	known := make(map[string]bool) // most instructions are like another one
	var key []byte
	for i := range prog.Inst {
		inst := &prog.Inst[i]
		if inst.Op == syntax.InstEmptyWidth {
			asserts |= syntax.EmptyOp(inst.Arg)
		}
		if key = readsKey(key[:0], inst); !known[string(key)] {
			known[string(key)] = true
			sets = append(sets, ranges(inst))
		}
	}
	lines := asserts&(syntax.EmptyBeginLine|syntax.EmptyEndLine) != 0
	if lines {
		sets = append(sets, []rune{'\n', '\n'})
	}
	words := asserts&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0
	if words {
		sets = append(sets, []rune("09AZ__az"))
	}

	cuts := map[rune]bool{0: true}
	for _, set := range sets {
		if err := b.spend(len(set)); err != nil {
			return nil, err
		}
		for i, r := range set {
			cuts[r+rune(i%2)] = true // the first of a range, or the one after the last
		}
	}
	delete(cuts, unicode.MaxRune+1)
	a := &alphabet{starts: slices.Sorted(maps.Keys(cuts))}
	a.class = make([]int, len(a.starts))
	classes := 1
	for _, set := range sets {
		if err := b.spend(a.refine(set, &classes)); err != nil {
			return nil, err
		}
	}

	ids := make(map[int]int) // class → number; some classes are empty by now
	for i, r := range a.starts {
		id, known := ids[a.class[i]]
		if !known {
			id = len(ids)
			ids[a.class[i]] = id
			context := other
			switch {
			case lines && r == '\n':
				context = newline
			case words && syntax.IsWordChar(r):
				context = word
			}
			a.member = append(a.member, r)
			a.context = append(a.context, context)
		}
		a.class[i] = id
	}
	return a, nil
}

func (a *alphabet) classOf(r rune) int {
	return a.class[a.index(r)]
}

// index returns the index of the last start that is at most r.
func (a *alphabet) index(r rune) int {
	i, exact := slices.BinarySearch(a.starts, r)
	if !exact {
		i--
	}
	return i
}

// refine moves the runes of each class that are in set to a new class. It
// adds to classes, and returns the number of starts in set.
func (a *alphabet) refine(set []rune, classes *int) (starts int) {
	moved := make(map[int]int) // class → new class
	for ; len(set) > 0; set = set[2:] {
		for i := a.index(set[0]); i < len(a.starts) && a.starts[i] <= set[1]; i++ {
			to, known := moved[a.class[i]]
			if !known {
				to = *classes
				*classes++
				moved[a.class[i]] = to
			}
			a.class[i] = to
			starts++
		}
	}
	return starts
}

// ranges returns the runes that inst distinguishes from others, as pairs of the first and the
// last rune of a range.
func ranges(inst *syntax.Inst) []rune {
	switch {
	case inst.Op == syntax.InstRuneAny:
		return nil
	case inst.Op == syntax.InstRuneAnyNotNL:
		return []rune{'\n', '\n'}
	case len(inst.Rune) != 1:
		return inst.Rune // pairs, or empty if inst reads no rune
	}
	first := inst.Rune[0]
	set := []rune{first, first}
	if syntax.Flags(inst.Arg)&syntax.FoldCase != 0 {
		for r := unicode.SimpleFold(first); r != first; r = unicode.SimpleFold(r) {
			set = append(set, r, r)
		}
	}
	return set
}

// readsKey appends a text to key that is the same for instructions which read the same runes.
func readsKey(key []byte, inst *syntax.Inst) []byte {
	key = append(key, byte(inst.Op), byte(inst.Arg)) // flags, if it reads a rune
	for _, r := range inst.Rune {
		key = appendUint32(key, uint32(r))
	}
	return key
}

// matches reports whether inst reads r.
func matches(inst *syntax.Inst, r rune) bool {
	switch inst.Op {
	case syntax.InstRune:
		return inst.MatchRune(r)
	case syntax.InstRune1:
		return r == inst.Rune[0]
	case syntax.InstRuneAny:
		return true
	case syntax.InstRuneAnyNotNL:
		return r != '\n'
	}
	return false
}
