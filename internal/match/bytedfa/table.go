package bytedfa

import "slices"

// A table is a complete DFA over any symbols. State 0 is dead and state 1 is the start.
type table struct {
	width  int      // number of symbols
	next   []uint32 // state*width + symbol → state
	accept []uint16 // by state; 0 if it does not accept
}

// An explorer makes tables, one after another in the same memory.
type explorer struct {
	ids   numbers
	next  []uint64
	table table
}

// explore numbers the states that are reachable from start, in breadth-first order, which
// keeps successors near each other. A key identifies a state; visit writes the keys of its
// successors, by symbol, and returns its value of accept. For more than limit states the
// error is ErrTooLarge. The table is valid until the next call.
func (x *explorer) explore(dead, start uint64, width, limit int,
	visit func(key uint64, next []uint64) (accept uint16, err error)) (table, error) {

	ids, t := &x.ids, &x.table
	ids.reset(dead)
	if start == dead {
		ids.keys = append(ids.keys, start)
	}
	ids.of(start)
	x.next = slices.Grow(x.next[:0], width)[:width]
	t.width, t.next, t.accept = width, t.next[:0], t.accept[:0]
	for s := 0; s < len(ids.keys); s++ {
		if len(ids.keys) > limit {
			return table{}, ErrTooLarge
		}
		accept, err := visit(ids.keys[s], x.next)
		if err != nil {
			return table{}, err
		}
		t.accept = append(t.accept, accept)
		if len(t.next)+width > cap(t.next) {
			t.next = slices.Grow(t.next, len(t.next)+width) // append adds a quarter to a large slice
		}
		row := t.next[len(t.next) : len(t.next)+width]
		last, id := dead, uint32(0)
		for c, key := range x.next {
			if key != last { // which neighbours often are not
				last, id = key, ids.of(key)
			}
			row[c] = id
		}
		t.next = t.next[:len(t.next)+width]
	}
	return *t, nil
}

// newDFA converts a table over byte classes, and merges the classes that no state
// distinguishes.
func newDFA(classes [256]uint8, t table) *DFA {
	d := &DFA{Accept: slices.Clone(t.accept)}
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
