package tcpflowkiller

import (
	"net/netip"
	"slices"

	"github.com/cryptnono/cryptnono/internal/detector/tcpflowkiller/firstbytes"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// poolsFile is the origin of the built-in names of pools, which execwhacker matches in command
// lines.
const poolsFile = "builtin/pools.yaml"

// A bannedName is a name and what is to be done with who names it.
type bannedName struct {
	name   string
	action firstbytes.NameAction
	origin string
}

// A bannedAddress is a rule for addresses.
type bannedAddress struct {
	prefix  netip.Prefix
	ports   []uint16 // empty for all
	observe bool
	origin  rules.Origin
}

// lists are the names and addresses of a policy.
type lists struct {
	names     []bannedName
	addresses []bannedAddress
}

// listsOf returns the lists of a set of rules.
func listsOf(set rules.Set) lists {
	var l lists
	for _, b := range set.Bans {
		if b.Origin.File == poolsFile && firstbytes.CheckName(b.Text) == nil {
			l.names = append(l.names, bannedName{b.Text, firstbytes.NameUsual, b.Origin.String()})
		}
	}
	for _, n := range set.Names {
		action := firstbytes.NameUsual
		switch {
		case n.Action == rules.Observe:
			action = firstbytes.NameObserve
		case n.Then == "refuse":
			action = firstbytes.NameRefuse
		case n.Then == "kill":
			action = firstbytes.NameKill
		}
		l.names = append(l.names, bannedName{n.Name, action, n.Origin.String()})
	}
	for _, a := range set.Addresses {
		var ports []uint16
		if a.Port != 0 {
			ports = []uint16{a.Port}
		}
		l.addresses = append(l.addresses, bannedAddress{a.Prefix, ports, a.Action == rules.Observe, a.Origin})
	}
	return l
}

// kernelNames returns the names for the kernel. Of two rules for one name, the stricter counts.
func (l *lists) kernelNames() map[string]firstbytes.Listed {
	all := make(map[string]firstbytes.Listed, len(l.names))
	for i, n := range l.names {
		if old, there := all[n.name]; !there || old.Action() < n.action {
			all[n.name] = firstbytes.NewListed(i, n.action)
		}
	}
	return all
}

// An addressValue has the rules for an address, as the kernel numbers them.
type addressValue struct {
	key    uint32            // of the address among others that have rules for ports
	ports  map[uint16]uint32 // the rules for ports
	others uint32            // that for the other ports, 0 for none
}

// stored returns what the kernel stores for the address itself.
func (v *addressValue) stored() uint32 {
	if len(v.ports) == 0 {
		return v.others | anyPort
	}
	return v.key
}

const (
	anyPort  = 1 << 31 // ANY_PORT in address.bpf.h
	observes = 1 << 30 // RULE_OBSERVES
)

// origin returns the place of a rule for addresses, as the kernel numbers it, "" if it has none.
func (l *lists) origin(rule uint32) string {
	if i := int(rule&^observes) - 1; i >= 0 && i < len(l.addresses) {
		return l.addresses[i].origin.String()
	}
	return ""
}

// value returns the rules for an address to which these apply, the nearest last: for each port the
// nearest that kills, or else the nearest that observes.
func (l *lists) value(rules []int) (v addressValue) {
	for _, observing := range []bool{false, true} {
		for _, i := range slices.Backward(rules) {
			a := &l.addresses[i]
			if a.observe != observing {
				continue
			}
			rule := uint32(i + 1)
			if observing {
				rule |= observes
			}
			if len(a.ports) == 0 { // it hides all that come after it
				v.others = rule
				return v
			}
			for _, port := range a.ports {
				if v.ports == nil {
					v.ports = make(map[uint16]uint32)
				}
				if v.ports[port] == 0 {
					v.ports[port] = rule
				}
			}
		}
	}
	return v
}

// addressTable has the rules of prefixes.
type addressTable struct {
	lists *lists
	last  map[netip.Prefix]int32 // the last rule of a prefix
	next  []int32                // of the same prefix, by rule; -1 for none
	// Lengths of prefixes, of IPv4 and IPv6.
	lengths [2][129]bool
}

func newAddressTable(l *lists) *addressTable {
	t := &addressTable{lists: l, last: make(map[netip.Prefix]int32, len(l.addresses)), next: make([]int32, len(l.addresses))}
	for i, a := range l.addresses {
		p := unmapped(a.prefix)
		before, there := t.last[p]
		if !there {
			before = -1
		}
		t.next[i], t.last[p] = before, int32(i)
		t.family(p)[p.Bits()] = true
	}
	return t
}

func (t *addressTable) family(p netip.Prefix) *[129]bool {
	if p.Addr().Is4() {
		return &t.lengths[0]
	}
	return &t.lengths[1]
}

// each calls do for each prefix. Since the kernel finds the longest prefix alone, the value of
// each has the rules of those around it.
func (t *addressTable) each(do func(netip.Prefix, addressValue) error) error {
	var rules []int
	add := func(p netip.Prefix) {
		if i, there := t.last[p]; there {
			for ; i >= 0; i = t.next[i] {
				rules = append(rules, int(i))
			}
		}
	}
	for p := range t.last {
		rules = rules[:0]
		for bits, there := range t.family(p)[:p.Bits()] {
			if outer, err := p.Addr().Prefix(bits); there && err == nil {
				add(outer)
			}
		}
		add(p)
		v := t.lists.value(rules)
		v.key = uint32(t.last[p] + 1) // a rule is of one prefix only
		if err := do(p, v); err != nil {
			return err
		}
	}
	return nil
}

// unmapped returns the prefix as the kernel looks for it: IPv4 that is written as IPv6 is IPv4.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}
