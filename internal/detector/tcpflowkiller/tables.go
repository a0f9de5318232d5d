package tcpflowkiller

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// tables are the addresses of a policy as the kernel stores them.
type tables struct {
	exact4, prefixes4 map[netip.Prefix]addressValue
	exact6, prefixes6 map[netip.Prefix]addressValue
	ports             int
}

func tablesOf(l *lists) tables {
	t := tables{
		exact4: map[netip.Prefix]addressValue{}, prefixes4: map[netip.Prefix]addressValue{},
		exact6: map[netip.Prefix]addressValue{}, prefixes6: map[netip.Prefix]addressValue{},
	}
	for p, v := range l.kernelAddresses() {
		to := t.prefixes6
		switch {
		case p.Addr().Is4() && p.IsSingleIP():
			to = t.exact4
		case p.Addr().Is4():
			to = t.prefixes4
		case p.IsSingleIP():
			to = t.exact6
		}
		to[p] = v
		t.ports += len(v.ports)
	}
	return t
}

// prepare sizes the maps of an object.
func (t *tables) prepare(spec *ebpf.CollectionSpec) error {
	for _, m := range []struct {
		name, has string
		n         int
	}{
		{bpfMapExact4, bpfVarHasExact4, len(t.exact4)},
		{bpfMapExact6, bpfVarHasExact6, len(t.exact6)},
		{bpfMapPrefixes4, bpfVarHasPrefixes4, len(t.prefixes4)},
		{bpfMapPrefixes6, bpfVarHasPrefixes6, len(t.prefixes6)},
		{bpfMapRulePorts, "", t.ports},
	} {
		spec.Maps[m.name].MaxEntries = uint32(max(m.n, 1))
		if m.has == "" {
			continue
		}
		if err := spec.Variables[m.has].Set(m.n > 0); err != nil {
			return fmt.Errorf("setting %s: %w", m.has, err)
		}
	}
	return nil
}

// batch is the number of addresses that are stored by one system call.
const batch = 4096

// fill stores the addresses.
func (t *tables) fill(o *bpfObjects) error {
	if err := fillExact(o.Exact4, t.exact4, func(a netip.Addr) [4]byte { return a.As4() }); err != nil {
		return err
	}
	if err := fillExact(o.Exact6, t.exact6, func(a netip.Addr) [16]byte { return a.As16() }); err != nil {
		return err
	}
	for p, v := range t.prefixes4 {
		key := bpfPrefix4{Length: uint32(p.Bits())}
		a := p.Addr().As4()
		key.Word = binary.NativeEndian.Uint32(a[:])
		if err := o.Prefixes4.Put(key, v.rule); err != nil {
			return fmt.Errorf("storing %s: %w", p, err)
		}
	}
	for p, v := range t.prefixes6 {
		key := bpfPrefix6{Length: uint32(p.Bits())}
		a := p.Addr().As16()
		for i := range key.Word {
			key.Word[i] = binary.NativeEndian.Uint32(a[4*i:])
		}
		if err := o.Prefixes6.Put(key, v.rule); err != nil {
			return fmt.Errorf("storing %s: %w", p, err)
		}
	}
	for _, all := range []map[netip.Prefix]addressValue{t.exact4, t.exact6, t.prefixes4, t.prefixes6} {
		for _, v := range all {
			for _, port := range v.ports {
				if err := o.RulePorts.Put(bpfRulePort{Rule: v.rule, Port: uint32(port)}, uint32(1)); err != nil {
					return fmt.Errorf("storing the port %d: %w", port, err)
				}
			}
		}
	}
	return nil
}

func fillExact[K any](m *ebpf.Map, all map[netip.Prefix]addressValue, key func(netip.Addr) K) error {
	keys, values := make([]K, 0, batch), make([]uint32, 0, batch)
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		if _, err := m.BatchUpdate(keys, values, nil); err != nil {
			return fmt.Errorf("storing addresses: %w", err)
		}
		keys, values = keys[:0], values[:0]
		return nil
	}
	for p, v := range all {
		keys, values = append(keys, key(p.Addr())), append(values, v.rule)
		if len(keys) == batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
