//go:build !race

package tcpflowkiller

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// strictest returns which rules may be named for an address, the naive way: of those that match, those
// that kill, or else those that observe, and of these the nearest.
func strictest(all []bannedAddress, to netip.AddrPort) (rules []uint32) {
	for _, observing := range []bool{false, true} {
		nearest := -1
		for i, a := range all {
			p := unmapped(a.prefix)
			if a.observe != observing || p.Bits() < nearest || !p.Contains(to.Addr().Unmap()) || len(a.ports) > 0 && !slices.Contains(a.ports, to.Port()) {
				continue
			}
			if p.Bits() > nearest {
				nearest, rules = p.Bits(), nil
			}
			rule := uint32(i + 1)
			if observing {
				rule |= observes
			}
			rules = append(rules, rule)
		}
		if rules != nil {
			return rules
		}
	}
	return []uint32{0}
}

// someRules calls try with rules that have much in common, and gives it addresses to which they may apply.
func someRules(t *testing.T, try func(all []bannedAddress, address func() netip.AddrPort)) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	addr := func() netip.Addr {
		switch r.IntN(4) {
		case 0:
			return netip.AddrFrom16([16]byte{0x20, 1, byte(r.IntN(2)), byte(r.IntN(2)), 15: byte(r.IntN(4))})
		case 1:
			return netip.AddrFrom16([16]byte{10: 255, 11: 255, 12: 10, 13: byte(r.IntN(2)), 14: byte(r.IntN(2)), 15: byte(r.IntN(4))})
		}
		return netip.AddrFrom4([4]byte{10, byte(r.IntN(2)), byte(r.IntN(2)), byte(r.IntN(4))})
	}
	for range testutil.Rounds(t, 4) {
		var all []bannedAddress
		for range 1 + r.IntN(30) {
			a := addr()
			bits := a.BitLen() - []int{0, 0, 1, 2, 8, 16, 24}[r.IntN(7)]
			rule := bannedAddress{prefix: netip.PrefixFrom(a, bits), observe: r.IntN(4) == 0}
			for range r.IntN(3) {
				rule.ports = append(rule.ports, uint16(1+r.IntN(3)))
			}
			all = append(all, rule)
		}
		try(all, func() netip.AddrPort { return netip.AddrPortFrom(addr().Unmap(), uint16(1+r.IntN(4))) })
	}
}

func TestTheTableHasWhatTheRulesBan(t *testing.T) {
	someRules(t, func(all []bannedAddress, address func() netip.AddrPort) {
		values := make(map[netip.Prefix]addressValue)
		keys := make(map[uint32]bool)
		if err := newAddressTable(&lists{addresses: all}).each(func(p netip.Prefix, v addressValue) error {
			values[p], keys[v.key] = v, true
			return nil
		}); err != nil || len(keys) != len(values) {
			t.Fatal(err, len(keys), len(values))
		}
		for range 2000 {
			to := address()
			got, nearest := uint32(0), -1
			for p, v := range values {
				if p.Bits() > nearest && p.Contains(to.Addr()) {
					nearest, got = p.Bits(), v.others
					if rule := v.ports[to.Port()]; rule != 0 {
						got = rule
					}
				}
			}
			if want := strictest(all, to); !slices.Contains(want, got) {
				t.Fatalf("%s: rule %x, want one of %x, of %v", to, got, want, all)
			}
		}
	})
}

func TestTheKernelBansWhatTheRulesBan(t *testing.T) {
	b := newBed(t, bedOptions{})
	someRules(t, func(all []bannedAddress, address func() netip.AddrPort) {
		if err := b.d.apply(detector.Policy{}, Defaults(), lists{addresses: all}); err != nil {
			t.Fatal(err)
		}
		for range 2000 {
			to := address()
			got, err := b.d.objs.ruleFor(to)
			if err != nil {
				t.Fatal(err)
			}
			if want := strictest(all, to); !slices.Contains(want, got) {
				t.Fatalf("%s: rule %x, want one of %x, of %v", to, got, want, all)
			}
		}
	})
}

func TestAMillionAddressesCanBeBanned(t *testing.T) {
	testutil.Privileged(t)
	n := testutil.Rounds(t, 1_000_000)
	all := make([]bannedAddress, n)
	for i := range all {
		all[i].prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
	}
	b := newBed(t, bedOptions{lists: lists{addresses: all}})
	for _, i := range []int{0, n / 2, n - 1} {
		if rule, err := b.d.objs.ruleFor(netip.AddrPortFrom(all[i].prefix.Addr(), 1)); err != nil || int(rule) != i+1 {
			t.Errorf("address %d: rule %d, %v", i, rule, err)
		}
	}
}
