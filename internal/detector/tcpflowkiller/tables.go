package tcpflowkiller

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// prepare sizes the maps of an object.
func (t *addressTable) prepare(spec *ebpf.CollectionSpec) error {
	var exact, prefixes [2]int
	ports := 0
	if err := t.each(func(p netip.Prefix, v addressValue) error {
		family := 0
		if p.Addr().Is6() {
			family = 1
		}
		if p.IsSingleIP() {
			exact[family]++
		} else {
			prefixes[family]++
		}
		if len(v.ports) > 0 {
			ports += len(v.ports) + 1
		}
		return nil
	}); err != nil {
		return err
	}
	spec.Maps[bpfMapRulePorts].MaxEntries = uint32(max(ports, 1))
	for _, m := range []struct {
		name, has string
		n         int
	}{
		{bpfMapExact4, bpfVarHasExact4, exact[0]},
		{bpfMapExact6, bpfVarHasExact6, exact[1]},
		{bpfMapPrefixes4, bpfVarHasPrefixes4, prefixes[0]},
		{bpfMapPrefixes6, bpfVarHasPrefixes6, prefixes[1]},
	} {
		spec.Maps[m.name].MaxEntries = uint32(max(m.n, 1))
		if err := spec.Variables[m.has].Set(m.n > 0); err != nil {
			return fmt.Errorf("setting %s: %w", m.has, err)
		}
	}
	return nil
}

// batchSize is the number of addresses that are stored by one system call.
const batchSize = 4096

// A batch stores keys and values in a map, many by one system call.
type batch[K any] struct {
	to     *ebpf.Map
	keys   []K
	values []uint32
}

func (b *batch[K]) put(key K, value uint32) error {
	b.keys, b.values = append(b.keys, key), append(b.values, value)
	if len(b.keys) < batchSize {
		return nil
	}
	return b.flush()
}

func (b *batch[K]) flush() error {
	if len(b.keys) == 0 {
		return nil
	}
	if _, err := b.to.BatchUpdate(b.keys, b.values, nil); err != nil {
		return fmt.Errorf("storing addresses: %w", err)
	}
	b.keys, b.values = b.keys[:0], b.values[:0]
	return nil
}

func word4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.NativeEndian.Uint32(b[:])
}

func words6(a netip.Addr) (words [4]uint32) {
	b := a.As16()
	for i := range words {
		words[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return words
}

// fill stores the addresses.
func (t *addressTable) fill(o *bpfObjects) error {
	exact4, exact6 := &batch[uint32]{to: o.Exact4}, &batch[[4]uint32]{to: o.Exact6}
	if err := t.each(func(p netip.Prefix, v addressValue) error {
		if len(v.ports) > 0 && v.others != 0 {
			v.ports[0] = v.others
		}
		for port, rule := range v.ports {
			if err := o.RulePorts.Put(bpfRulePort{Address: v.key, Port: uint32(port)}, rule); err != nil {
				return fmt.Errorf("storing the port %d: %w", port, err)
			}
		}
		var err error
		switch a := p.Addr(); {
		case a.Is4() && p.IsSingleIP():
			return exact4.put(word4(a), v.stored())
		case p.IsSingleIP():
			return exact6.put(words6(a), v.stored())
		case a.Is4():
			err = o.Prefixes4.Put(bpfPrefix4{Length: uint32(p.Bits()), Word: word4(a)}, v.stored())
		default:
			err = o.Prefixes6.Put(bpfPrefix6{Length: uint32(p.Bits()), Word: words6(a)}, v.stored())
		}
		if err != nil {
			return fmt.Errorf("storing %s: %w", p, err)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := exact4.flush(); err != nil {
		return err
	}
	return exact6.flush()
}
