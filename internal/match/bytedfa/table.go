package bytedfa

import "slices"

// A table is a complete DFA over any symbols. State 0 is dead and state 1 is the start.
type table struct {
	width  int      // number of symbols
	next   []uint32 // state*width + symbol → state
	accept []uint16 // by state; 0 if it does not accept
}

// explore numbers the states that are reachable from start, in breadth-first order, which
// keeps successors near each other. A key identifies a state; visit writes the keys of its
// successors, by symbol, and returns its value of accept. For more than limit states the
// error is ErrTooLarge.
func explore[K comparable](dead, start K, width, limit int,
	visit func(key K, next []K) (accept uint16, err error)) (table, error) {

	t := table{width: width}
	keys := []K{dead, start}
	ids := map[K]uint32{start: 1}
	ids[dead] = 0 // after start, which may have the same key
	next := make([]K, width)
	for s := 0; s < len(keys); s++ {
		if len(keys) > limit {
			return table{}, ErrTooLarge
		}
		accept, err := visit(keys[s], next)
		if err != nil {
			return table{}, err
		}
		t.accept = append(t.accept, accept)
		if len(t.next)+width > cap(t.next) {
			t.next = slices.Grow(t.next, len(t.next)+width) // append adds a quarter to a large slice
		}
		last, id := dead, uint32(0)
		for _, key := range next {
			if key != last { // which neighbours often are not
				var known bool
				if id, known = ids[key]; !known {
					id = uint32(len(keys))
					ids[key] = id
					keys = append(keys, key)
				}
				last = key
			}
			t.next = append(t.next, id)
		}
	}
	return t, nil
}

// newDFA converts a table over byte classes, and merges the classes that no state
// distinguishes.
func newDFA(classes [256]uint8, t table) *DFA {
	d := &DFA{Accept: t.accept}
	merged := make(map[string]uint8) // by column
	packed := make([]uint8, t.width) // class → merged class
	var kept []int                   // one class of each merged class
	column := make([]byte, 0, 4*len(t.accept))
	for c := range t.width {
		column = column[:0]
		for s := range t.accept {
			column = appendUint32(column, t.next[s*t.width+c])
		}
		m, known := merged[string(column)]
		if !known {
			m = uint8(len(kept))
			merged[string(column)] = m
			kept = append(kept, c)
		}
		packed[c] = m
	}
	d.Stride = len(kept)
	for b, c := range classes {
		d.Classes[b] = packed[c]
	}
	for s := range t.accept {
		for _, c := range kept {
			d.Next = append(d.Next, uint16(t.next[s*t.width+c]))
		}
	}
	return d
}

const (
	// slack is the factor by which a table may exceed the limit before it is minimized.
	slack = 8
	// workPerState is the number of steps, of some nanoseconds each, that compiling an
	// expression may take for each state that its DFA may have.
	workPerState = 1 << 13
)

// A budget bounds the work of compiling an expression.
type budget struct {
	maxStates int // of the DFA
	work      int // remaining steps
}

func newBudget(maxStates int) *budget {
	return &budget{maxStates: maxStates, work: workPerState * maxStates}
}

// spend takes n steps from the budget. It returns ErrTooLarge if fewer are left.
func (b *budget) spend(n int) error {
	if b.work -= n; b.work < 0 {
		return ErrTooLarge
	}
	return nil
}

// limit returns the number of states that a table of that width may have before it is
// minimized.
func limit(maxStates, width int) int {
	return slack * min(maxStates, 256*maxStates/width)
}
