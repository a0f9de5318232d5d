package execwhacker

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/match/bytedfa"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// tables are the tables of a matcher in the format of the kernel programs.
type tables struct {
	m       *match.Matcher
	rows    []uint32 // entries of allow_rows, which has two in each element
	start   [match.MaxAllows]uint32
	accept  [match.MaxAllows]uint32
	columns [256][match.MaxAllows]uint8
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
	if len(t.rows)%2 != 0 {
		t.rows = append(t.rows, 0)
	}
	return t
}

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
	for b, class := range d.Classes {
		t.columns[b][k] = class
	}
	t.columns[0][k] = d.Classes[' '] // NUL separates arguments
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
		bpfMapWalks: cpus + maxLater,
		bpfMapCells: len(t.m.Cells), bpfMapFounds: len(t.m.Outputs),
		bpfMapAllowRows: len(t.rows) / 2,
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
		bpfVarPrefix:       uint32(t.m.Prefix),
		bpfVarClasses:      t.m.Classes(),
		bpfVarAllowCount:   uint32(len(t.m.Allow)),
		bpfVarAllowStart:   t.start,
		bpfVarAllowAccept:  t.accept,
		bpfVarAllowColumns: t.columns,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

// tableMaps are the maps with the tables.
type tableMaps struct {
	Cells     *ebpf.Map `ebpf:"cells"`
	Founds    *ebpf.Map `ebpf:"founds"`
	AllowRows *ebpf.Map `ebpf:"allow_rows"`
}

func (m *tableMaps) close() error {
	return errors.Join(m.Cells.Close(), m.Founds.Close(), m.AllowRows.Close())
}

// fill writes the tables into loaded maps.
func (t *tables) fill(maps *tableMaps) error {
	if err := fillArray(maps.Cells, t.m.Cells); err != nil {
		return err
	}
	if err := fillArray(maps.Founds, t.m.Outputs); err != nil {
		return err
	}
	rows := make([]bpfAllowRows, 0, len(t.rows)/2)
	for pair := range slices.Chunk(t.rows, 2) {
		rows = append(rows, bpfAllowRows{Next: [2]uint32(pair)})
	}
	return fillArray(maps.AllowRows, rows)
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
