package execwhacker

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/match/bytedfa"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// tables are the tables of a matcher in the format of the kernel programs.
type tables struct {
	m       *match.Matcher
	rows    []uint32 // entries of allow_rows, which has two in each element
	start   [match.MaxAllows]uint32
	accept  [match.MaxAllows]uint32
	columns columns
	search  searchTables
}

// searchTables are those of the searches for expressions.
type searchTables struct {
	rows       []uint32 // entries of search_rows
	start, end [match.MaxAllows]uint32
	columns    columns
	sets       []bpfPartSet
}

func newTables(m *match.Matcher) *tables {
	t := &tables{m: m}
	widest := 0
	for _, d := range m.Allow {
		widest = max(widest, d.Stride+1)
	}
	t.rows = make([]uint32, widest) // the dead state, shared by all DFAs
	for k, d := range m.Allow {
		t.addAllow(k, d)
	}
	t.rows = even(t.rows)
	t.search = newSearchTables(m.Searches)
	return t
}

// columns are the classes of each byte, by DFA.
type columns [256][match.MaxAllows]uint8

// set sets those of a DFA. NUL separates arguments as a space does.
func (c *columns) set(k int, classes *[256]uint8) {
	for b, class := range classes {
		c[b][k] = class
	}
	c[0][k] = classes[' ']
}

// even returns rows with an even number of entries.
func even(rows []uint32) []uint32 {
	if len(rows)%2 != 0 {
		rows = append(rows, 0)
	}
	return rows
}

func newSearchTables(searches []*bytedfa.Search) (t searchTables) {
	t.sets = make([]bpfPartSet, 1) // the empty set
	for k, d := range searches {
		first, width := len(t.rows), d.Stride+1
		row := func(state uint16) uint32 { return uint32(first + int(state)*width) }
		marked := func(state uint16) uint32 {
			if d.Found[state] != 0 {
				return row(state) | bpfFound
			}
			return row(state)
		}
		t.start[k], t.end[k] = row(bytedfa.Start), uint32(d.End())
		t.columns.set(k, &d.Classes)
		for s, found := range d.Found {
			for _, next := range d.Next[s*d.Stride : (s+1)*d.Stride] {
				t.rows = append(t.rows, marked(next))
			}
			number := uint32(0)
			if found != 0 {
				number = uint32(len(t.sets)) - 1 + uint32(found)
			}
			t.rows = append(t.rows, number)
		}
		for _, set := range d.Sets[1:] {
			t.sets = append(t.sets, bpfPartSet{Parts: set})
		}
	}
	t.rows = even(t.rows)
	return t
}

// shellNames returns the names of shells as in tables.bpf.h.
func shellNames() (packed [bpfShells]struct{ Name, Bits uint64 }) {
	for i, name := range match.Shells() {
		for _, b := range []byte(name) {
			packed[i].Name = packed[i].Name<<8 | uint64(b)
		}
		packed[i].Bits = 8 * uint64(len(name))
	}
	return packed
}

const (
	bpfShells = 16      // MAX_SHELLS in tables.bpf.h
	bpfFound  = 1 << 31 // FOUND there
)

// addAllow appends the rows of a DFA.
func (t *tables) addAllow(k int, d *bytedfa.DFA) {
	first, width := len(t.rows), d.Stride+1
	row := func(state uint16) uint32 {
		if state == bytedfa.Dead {
			return 0
		}
		return uint32(first + (int(state)-1)*width)
	}
	t.start[k], t.accept[k] = row(bytedfa.Start), uint32(d.Stride)
	t.columns.set(k, &d.Classes)
	for s := 1; s < len(d.Accept); s++ {
		for _, next := range d.Next[s*d.Stride : (s+1)*d.Stride] {
			t.rows = append(t.rows, row(next))
		}
		t.rows = append(t.rows, uint32(d.Accept[s]))
	}
}

// size sets the sizes of the maps and the constants in a spec before it is loaded.
func (t *tables) size(spec *ebpf.CollectionSpec) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("counting CPUs: %w", err)
	}
	for name, n := range map[string]int{
		bpfMapWalks:      cpus + maxLater,
		bpfMapLimitRules: len(t.m.Set.Bans),
		bpfMapCells:      len(t.m.Cells), bpfMapEntries: len(t.m.Entries),
		bpfMapAllowRows: len(t.rows) / 2, bpfMapSearchRows: len(t.search.rows) / 2,
		bpfMapPartSets: len(t.search.sets), bpfMapCombinations: len(t.m.Combinations),
	} {
		spec.Maps[name].MaxEntries = uint32(max(n, 1))
	}
	sizeLater(spec)
	var filter [match.FilterWords]uint64
	copy(filter[:], t.m.Filter.Words)
	for name, value := range map[string]any{
		bpfVarBanPrograms:  slices.ContainsFunc(t.m.Set.Bans, func(b rules.Ban) bool { return b.Kind == rules.Program }),
		bpfVarFilter:       filter[:],
		bpfVarFilterLast:   uint64(len(t.m.Filter.Words) - 1),
		bpfVarFilterDrop:   t.m.Filter.Drop,
		bpfVarLaterFirst:   uint32(cpus),
		bpfVarLaterCount:   uint32(maxLater),
		bpfVarLaterShare:   uint32(laterShare),
		bpfVarFirstNumber:  uint64(process.SinceBoot() >> 10),
		bpfVarPrefix:       uint32(t.m.Prefix),
		bpfVarClasses:      match.Classes(),
		bpfVarPairs:        t.m.Filter.Misses[:],
		bpfVarAllowCount:   uint32(len(t.m.Allow)),
		bpfVarAllowStart:   t.start,
		bpfVarAllowAccept:  t.accept,
		bpfVarAllowColumns: t.columns,

		bpfVarCombinationCount: uint32(len(t.m.Combinations)),
		bpfVarSearchCount:      uint32(len(t.m.Searches)),
		bpfVarSearchStart:      t.search.start,
		bpfVarSearchEnd:        t.search.end,
		bpfVarSearchColumns:    t.search.columns,
		bpfVarSearchRuns:       t.m.Runs,
		bpfVarSearchEnv:        slices.ContainsFunc(t.m.Set.Bans, func(b rules.Ban) bool { return b.Environment != "" }),
		bpfVarShells:           shellNames(),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

// tableMaps are the maps with the tables.
type tableMaps struct {
	LimitRules   *ebpf.Map `ebpf:"limit_rules"`
	Cells        *ebpf.Map `ebpf:"cells"`
	Entries      *ebpf.Map `ebpf:"entries"`
	AllowRows    *ebpf.Map `ebpf:"allow_rows"`
	SearchRows   *ebpf.Map `ebpf:"search_rows"`
	PartSets     *ebpf.Map `ebpf:"part_sets"`
	Combinations *ebpf.Map `ebpf:"combinations"`
}

func (m *tableMaps) close() error {
	return errors.Join(m.LimitRules.Close(), m.Cells.Close(), m.Entries.Close(), m.AllowRows.Close(),
		m.SearchRows.Close(), m.PartSets.Close(), m.Combinations.Close())
}

// fill writes the tables into loaded maps. limited are the numbers of the bans for the kill limit.
func (t *tables) fill(maps *tableMaps, limited []uint32) error {
	combinations := make([]bpfCombination, len(t.m.Combinations))
	for i, c := range t.m.Combinations {
		combinations[i] = bpfCombination{Need: bpfPartSet{Parts: c.Parts}, Ban: c.Entry.Ban, Flags: uint32(c.Entry.Flags)}
	}
	return errors.Join(
		fillArray(maps.LimitRules, limited),
		fillArray(maps.Cells, t.m.Cells), fillArray(maps.Entries, t.m.Entries),
		fillArray(maps.AllowRows, pairs(t.rows)), fillArray(maps.SearchRows, pairs(t.search.rows)),
		fillArray(maps.PartSets, t.search.sets), fillArray(maps.Combinations, combinations),
	)
}

func pairs(rows []uint32) []bpfAllowRows {
	elements := make([]bpfAllowRows, 0, len(rows)/2)
	for pair := range slices.Chunk(rows, 2) {
		elements = append(elements, bpfAllowRows{Next: [2]uint32(pair)})
	}
	return elements
}

func fillArray[T any](m *ebpf.Map, values []T) error {
	keys := make([]uint32, len(values))
	for i := range keys {
		keys[i] = uint32(i)
	}
	if len(values) == 0 {
		return nil
	}
	if _, err := m.BatchUpdate(keys, values, nil); err != nil {
		return fmt.Errorf("filling %v with %d entries: %w", m, len(values), err)
	}
	return nil
}
