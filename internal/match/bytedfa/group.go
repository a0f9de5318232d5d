package bytedfa

import (
	"errors"
	"fmt"
	"math"
)

// Group returns DFAs of at most maxStates states each that together tell
// which of exprs match, and few of them. Each is for a part of exprs, and the
// parts are in order: what the first DFA that matches returns is the lowest
// index of all. In large are the indices of the expressions that are too
// large on their own; Regexp is for them.
//
// An error names the expression, by its index, that is not valid, and says
// what is wrong with it.
//
// An expression takes time and memory in proportion to maxStates at most: with
// 4096, half a second and 50 MB for the worst of those tried, and usually a
// millisecond. What regexp/syntax takes to parse it comes on top: a second and
// hundreds of MB for the worst that it lets pass, of some ten thousand bytes.
// MaxStates is used if maxStates is more.
func Group(exprs []string, maxStates int) (dfas []*DFA, large []int, err error) {
	if len(exprs) > math.MaxUint16 {
		return nil, nil, fmt.Errorf("%d expressions are more than %d", len(exprs), math.MaxUint16)
	}
	return group(exprs, 0, min(maxStates, MaxStates))
}

// group is Group for exprs that Accept calls base, base+1, ...
func group(exprs []string, base, maxStates int) (dfas []*DFA, large []int, err error) {
	switch len(exprs) {
	case 0:
		return nil, nil, nil
	case 1:
		dfa, err := compile(exprs[0], base, maxStates)
		switch {
		case errors.Is(err, ErrTooLarge):
			return nil, []int{base}, nil
		case err != nil:
			return nil, nil, fmt.Errorf("expression %d: %w", base, err)
		}
		return []*DFA{dfa}, nil, nil
	}
	half := len(exprs) / 2
	dfas, large, err = group(exprs[:half], base, maxStates)
	if err != nil {
		return nil, nil, err
	}
	right, rightLarge, err := group(exprs[half:], base+half, maxStates)
	if err != nil {
		return nil, nil, err
	}
	if n := len(dfas); n > 0 && len(right) > 0 {
		if both, err := merge(dfas[n-1], right[0], maxStates); err == nil {
			dfas[n-1], right = both, right[1:]
		}
	}
	return append(dfas, right...), append(large, rightLarge...), nil
}

// merge returns the DFA that runs a and b side by side. The indices of a are
// lower than those of b. The only error is ErrTooLarge.
func merge(a, b *DFA, maxStates int) (*DFA, error) {
	var classes [256]uint8
	var bytes []byte // one of each class
	ids := make(map[[2]uint8]uint8)
	for i := range classes {
		both := [2]uint8{a.Classes[i], b.Classes[i]}
		id, known := ids[both]
		if !known {
			id = uint8(len(bytes))
			ids[both] = id
			bytes = append(bytes, byte(i))
		}
		classes[i] = id
	}
	visit := func(s [2]uint16, next [][2]uint16) (accept uint16, err error) {
		for c, i := range bytes {
			next[c] = [2]uint16{a.Step(s[0], i), b.Step(s[1], i)}
		}
		if accept = a.Accept[s[0]]; accept == 0 {
			accept = b.Accept[s[1]]
		}
		return accept, nil
	}
	t, err := explore([2]uint16{Dead, Dead}, [2]uint16{Start, Start}, len(bytes), limit(maxStates, len(bytes)), visit)
	if err != nil {
		return nil, err
	}
	if t, err = t.minimal(maxStates); err != nil {
		return nil, err
	}
	return newDFA(classes, t), nil
}
