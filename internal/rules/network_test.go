package rules

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	for text, want := range map[string]struct {
		prefix string
		port   uint16
	}{
		"192.0.2.1":              {"192.0.2.1/32", 0},
		"192.0.2.77/24":          {"192.0.2.0/24", 0},
		"192.0.2.1:3333":         {"192.0.2.1/32", 3333},
		"192.0.2.0/24:3333":      {"192.0.2.0/24", 3333},
		"2001:db8::1":            {"2001:db8::1/128", 0},
		"2001:db8::/32":          {"2001:db8::/32", 0},
		"[2001:db8::1]:443":      {"2001:db8::1/128", 443},
		"[2001:db8::/32]:443":    {"2001:db8::/32", 443},
		"::ffff:192.0.2.1":       {"::ffff:192.0.2.1/128", 0},
		"":                       {},
		"pool.example":           {},
		"192.0.2":                {},
		"192.0.2.1:":             {},
		"192.0.2.1:0":            {},
		"192.0.2.1:99999":        {},
		"0.0.0.0/0":              {},
		"192.0.2.1/33":           {},
		"fe80::1%eth0":           {},
		"[2001:db8::1]":          {},
		strings.Repeat("1", 400): {},
	} {
		p, port, err := ParseAddress(text)
		if want.prefix == "" {
			if err == nil {
				t.Errorf("%q is %v", text, p)
			}
			continue
		}
		if err != nil || p != netip.MustParsePrefix(want.prefix) || port != want.port {
			t.Errorf("%q: %v, %d, %v", text, p, port, err)
		}
	}
}

func TestDomains(t *testing.T) {
	for text, want := range map[string][2]string{
		"pool.example":        {"pool.example", ""},
		"Pool.Example.":       {"pool.example", ""},
		"pool.example refuse": {"pool.example", "refuse"},
		"pool.example kill":   {"pool.example", "kill"},
		"pool.example spare":  {},
		"pool.example Kill":   {}, // as actions elsewhere, which have no capital letters either
		"pool":                {},
		"192.0.2.1":           {},
		"a..b":                {},
		"*.pool.example":      {},
		"http://pool.example": {},
	} {
		name, then, err := ParseName(text)
		if (err != nil) != (want[0] == "") || name != want[0] || then != want[1] {
			t.Errorf("%q: %q, %q, %v", text, name, then, err)
		}
	}
}

func TestRulesForConnectionsAreRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("a.yaml", "action: observe\nbannedAddresses: [192.0.2.1, '192.0.2.0/24:3333']\nbannedNames: [pool.example, 'other.example kill']\n")
	write("b.addresses", "# from the older chart\n198.51.100.7\n\n198.51.100.8 # a pool\n")
	set, err := Load([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Addresses) != 4 || set.Addresses[1].Port != 3333 || set.Addresses[0].Action != Observe || set.Addresses[3].Action != Kill {
		t.Errorf("%+v", set.Addresses)
	}
	if o := set.Addresses[3].Origin; o.Line != 4 || !strings.HasSuffix(o.File, "b.addresses") {
		t.Errorf("%v", o)
	}
	if len(set.Names) != 2 || set.Names[1].Then != "kill" || set.Names[1].Action != Observe {
		t.Errorf("%+v", set.Names)
	}
	wrong := write("c.addresses", "198.51.100.7\npool.example\n")
	if _, err := Load([]string{wrong}); err == nil || !strings.Contains(err.Error(), "c.addresses:2: ") {
		t.Error(err)
	}
	wrong = write("d.yaml", "bannedAddresses: [pool.example]\n")
	if _, err := Load([]string{wrong}); err == nil || !strings.Contains(err.Error(), "d.yaml:1: bannedAddresses[0]") {
		t.Error(err)
	}
	wrong = write("old.txt", "# from the older chart\n198.51.100.7\n198.51.100.8\n")
	if _, err := Load([]string{wrong}); err == nil || !strings.Contains(err.Error(), "must be named *.addresses") {
		t.Error(err)
	}
}
