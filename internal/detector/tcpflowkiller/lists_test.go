package tcpflowkiller

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/tcpflowkiller/firstbytes"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestTheBuiltInPoolsAreListed(t *testing.T) {
	l := listsOf(rules.Builtin())
	if len(l.names) < 50 {
		t.Errorf("%d names", len(l.names))
	}
	names := l.kernelNames()
	if names["minexmr.com"].Action() != firstbytes.NameUsual || l.names[names["minexmr.com"].Index()].name != "minexmr.com" {
		t.Error("a pool is not listed")
	}
}

// strictest is what rules mean for an address: the naive way.
func strictest(all []bannedAddress, to netip.AddrPort) (banned, observed bool) {
	for _, a := range all {
		if unmapped(a.prefix).Contains(to.Addr().Unmap()) && (len(a.ports) == 0 || slices.Contains(a.ports, to.Port())) {
			banned = banned || !a.observe
			observed = observed || a.observe
		}
	}
	return banned, observed && !banned
}

func TestTheKernelBansWhatTheRulesBan(t *testing.T) {
	b := newBed(t, bedOptions{})
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
		if err := b.d.apply(detector.Policy{}, Defaults(), lists{addresses: all}); err != nil {
			t.Fatal(err)
		}
		for range 2000 {
			to := netip.AddrPortFrom(addr().Unmap(), uint16(1+r.IntN(4)))
			got, err := b.d.objs.ruleFor(to)
			if err != nil {
				t.Fatal(err)
			}
			banned, observed := strictest(all, to)
			// A rule that kills hides one that only observes at other ports of the same address.
			if (got != 0 && got&observes == 0) != banned || got&observes != 0 && !observed {
				t.Fatalf("%s: rule %x, banned %v, observed %v, of %v", to, got, banned, observed, all)
			}
		}
	}
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
