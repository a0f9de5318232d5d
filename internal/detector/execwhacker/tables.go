package execwhacker

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/match/bytedfa"
)

// maxAllows is MAX_ALLOWS in match.bpf.h. The patterns beyond are judged in
// user space.
const maxAllows = 64

// tables are a matcher's in the form that the programs want.
type tables struct {
	m      *match.Matcher
	allows []bpfAllow
	rows   []uint32
}

func newTables(m *match.Matcher) *tables {
	t := &tables{m: m}
	for _, d := range m.Allow[:min(len(m.Allow), maxAllows)] {
		t.addAllow(d)
	}
	return t
}

// addAllow appends a DFA: a row for each state with the row that follows for
// each class of bytes, and behind those what the state accepts.
func (t *tables) addAllow(d *bytedfa.DFA) {
	first, width := len(t.rows), d.Stride+1
	row := func(state uint16) uint32 { return uint32(first + int(state)*width) }
	a := bpfAllow{Start: row(bytedfa.Start), Accept: uint32(d.Stride), Column: d.Classes}
	a.Column[0] = d.Classes[' '] // separates arguments
	t.allows = append(t.allows, a)
	for s := range d.Accept {
		for _, next := range d.Next[s*d.Stride : (s+1)*d.Stride] {
			t.rows = append(t.rows, row(next))
		}
		t.rows = append(t.rows, uint32(d.Accept[s]))
	}
}

// size prepares a spec, before it is loaded, for the tables.
func (t *tables) size(spec *ebpf.CollectionSpec) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("counting CPUs: %w", err)
	}
	for name, n := range map[string]int{
		bpfMapWalks: cpus,
		bpfMapCells: len(t.m.Cells), bpfMapFounds: len(t.m.Found),
		bpfMapAllows: len(t.allows), bpfMapAllowRows: len(t.rows),
	} {
		spec.Maps[name].MaxEntries = uint32(max(n, 1))
	}
	var filter [match.FilterWords]uint64
	copy(filter[:], t.m.Filter.Words)
	for name, value := range map[string]any{
		bpfVarFilter:      filter[:],
		bpfVarFilterLast:  uint64(len(t.m.Filter.Words) - 1),
		bpfVarFilterDrop:  t.m.Filter.Drop,
		bpfVarFilterFirst: t.m.Filter.First,
		bpfVarPrefix:      uint32(t.m.Prefix),
		bpfVarClasses:     match.Classes(),
		bpfVarAllowCount:  uint32(len(t.allows)),
		bpfVarAllowLarge:  len(t.m.Large) > 0 || len(t.m.Allow) > maxAllows,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

// tableMaps hold the tables in the kernel.
type tableMaps struct {
	Cells     *ebpf.Map `ebpf:"cells"`
	Founds    *ebpf.Map `ebpf:"founds"`
	Allows    *ebpf.Map `ebpf:"allows"`
	AllowRows *ebpf.Map `ebpf:"allow_rows"`
}

func (m *tableMaps) close() error {
	return errors.Join(m.Cells.Close(), m.Founds.Close(), m.Allows.Close(), m.AllowRows.Close())
}

// fill writes the tables into loaded maps.
func (t *tables) fill(maps *tableMaps) error {
	if err := fillArray(maps.Cells, t.m.Cells); err != nil {
		return err
	}
	if err := fillArray(maps.Founds, t.m.Found); err != nil {
		return err
	}
	if err := fillArray(maps.Allows, t.allows); err != nil {
		return err
	}
	return fillArray(maps.AllowRows, t.rows)
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
