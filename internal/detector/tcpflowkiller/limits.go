package tcpflowkiller

import (
	"fmt"

	"github.com/cryptnono/cryptnono/internal/detector/tcpflowkiller/firstbytes"
	"github.com/cryptnono/cryptnono/internal/killlimit"
)

// A limitRule is a rule for the kill limit.
type limitRule struct {
	key  uint64
	name string
}

// limitRules returns the rules of lists, in the order of enum limit_index in finish.bpf.h.
func (l *lists) limitRules() []limitRule {
	rules := make([]limitRule, 0, int(bpfLimitIndexLIMIT_LISTED)+len(l.addresses)+len(l.names))
	add := func(name string, of ...string) {
		rules = append(rules, limitRule{killlimit.Key(append([]string{Name}, of...)...), name})
	}
	for _, scan := range scanRules {
		add(Name+" scan."+scan, "scan", scan)
	}
	add(Name+" stratum", "stratum")
	add(Name+" names", "names")
	for _, a := range l.addresses {
		add(a.origin.String(), "address", a.prefix.String(), fmt.Sprint(a.ports, a.observe))
	}
	for _, n := range l.names {
		add(n.origin, "name", n.name, fmt.Sprint(n.action))
	}
	return rules
}

// firstLimitedName returns the index of the first name in limitRules.
func (l *lists) firstLimitedName() uint32 {
	return uint32(bpfLimitIndexLIMIT_LISTED) + uint32(len(l.addresses))
}

// limitKey returns the key of the rule of an event for the kill limit: limit_rule in finish.bpf.h.
func (p *policy) limitKey(e *bpfEvent) uint64 {
	index := uint32(bpfLimitIndexLIMIT_STRATUM)
	switch e.Reason {
	case uint32(bpfReasonBECAUSE_SCAN):
		index = e.Finding
	case uint32(bpfReasonBECAUSE_ADDRESS):
		return p.addressKey(e.Rule)
	case uint32(bpfReasonBECAUSE_NAME):
		index = uint32(bpfLimitIndexLIMIT_NAMES)
		if e.Listed != 0 {
			index = p.lists.firstLimitedName() + uint32(firstbytes.Listed(e.Listed).Index())
		}
	}
	return p.keyAt(index)
}

// addressKey returns that of a rule for addresses, as the kernel numbers it.
func (p *policy) addressKey(rule uint32) uint64 {
	return p.keyAt(uint32(bpfLimitIndexLIMIT_LISTED) + rule&^observes - 1)
}

func (p *policy) keyAt(index uint32) uint64 {
	if int(index) >= len(p.limited) {
		return 0
	}
	return p.limited[index].key
}

// limit adds the rules of a policy to the kill limit, and returns their numbers there. replace
// removes the others.
func (d *Detector) limit(rules []limitRule) (numbers []uint32, replace func() error, err error) {
	keys := make([]uint64, len(rules))
	for i := range rules {
		keys[i] = rules[i].key
	}
	return d.Judge.Limit.Rules(Name, keys, func(i int) string { return rules[i].name })
}
