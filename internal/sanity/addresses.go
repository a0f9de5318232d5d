package sanity

import (
	"net/netip"

	"github.com/cryptnono/cryptnono/internal/rules"
)

// own are prefixes in which a node and its pods reach each other.
func own() []netip.Prefix {
	var all []netip.Prefix
	for _, text := range []string{
		"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", // RFC 1122, 1918, 3927, 6598
		"::1/128", "fc00::/7", "fe80::/10", // RFC 4291, 4193
	} {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// addresses reports banned prefixes that are wide, or in which the node itself is.
func (f *findings) addresses(banned []rules.Address) {
	const widest4, widest6 = 8, 16
	prefixes := own()
	for _, a := range banned {
		if a.Prefix.IsSingleIP() {
			continue
		}
		widest := widest6
		if a.Prefix.Addr().Is4() {
			widest = widest4
		}
		if a.Prefix.Bits() < widest {
			f.warn(a.Origin.Place(), "%s bans a large part of all addresses", a.Prefix)
			continue
		}
		for _, p := range prefixes {
			if p.Overlaps(a.Prefix) {
				f.warn(a.Origin.Place(), "%s has addresses of %s, by which nodes and pods reach each other", a.Prefix, p)
				break
			}
		}
	}
}
