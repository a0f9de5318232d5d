package sanity

import (
	"net/netip"
	"slices"
	"strings"

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

// A connectionJudge is the section of a detector that uses the rules for connections.
type connectionJudge interface{ JudgesConnections() }

// unused reports rules for connections if no detector that uses them is enabled.
func (f *findings) unused(set rules.Set) {
	var off []string
	for name, section := range f.config.Detectors {
		if _, uses := section.(connectionJudge); !uses {
			continue
		}
		if section.IsEnabled() {
			return
		}
		off = append(off, name)
	}
	slices.Sort(off)
	why := "no detector uses it"
	if len(off) > 0 {
		why = strings.Join(off, ", ") + " is off"
	}
	if n := len(set.Addresses); n > 0 {
		f.warn(set.Addresses[0].Origin.Place(), "banned addresses (%d) have no effect: %s", n, why)
	}
	if n := len(set.Names); n > 0 {
		f.warn(set.Names[0].Origin.Place(), "banned names (%d) have no effect: %s", n, why)
	}
}
