package rules

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/cryptnono/cryptnono/internal/strict"
)

// Keys of a rule file for connections.
const (
	KeyAddresses = "bannedAddresses"
	KeyNames     = "bannedNames"
)

// An Address bans destinations of connections.
type Address struct {
	Prefix netip.Prefix
	Port   uint16 // 0 for all
	Action Action
	Origin Origin
}

// A Name bans a domain and all names in it.
type Name struct {
	Name string // in lower case, without a dot at its end
	// Then is what is done with a process that names it, empty if it depends on what else it
	// says: refuse or kill.
	Then   string
	Action Action
	Origin Origin
}

// ParseAddress parses ADDRESS, ADDRESS/BITS, ADDRESS:PORT and ADDRESS/BITS:PORT, of IPv4, and
// the same of IPv6, where an address or prefix with a port is in brackets.
func ParseAddress(text string) (netip.Prefix, uint16, error) {
	host, port := text, uint64(0)
	if before, after, found := strings.Cut(text, "]:"); found && strings.HasPrefix(text, "[") || strings.Count(text, ":") == 1 {
		if !found {
			before, after, _ = strings.Cut(text, ":")
		}
		var err error
		host = strings.TrimPrefix(before, "[")
		if port, err = strconv.ParseUint(after, 10, 16); err != nil || port == 0 {
			return netip.Prefix{}, 0, fmt.Errorf("%.60q has no port from 1 to 65535", text)
		}
	}
	if strings.Contains(host, "/") {
		p, err := netip.ParsePrefix(host)
		if err == nil && p.Bits() == 0 {
			err = errors.New("all addresses")
		}
		if err != nil {
			return netip.Prefix{}, 0, fmt.Errorf("%.60q is not a prefix of addresses: %w", text, err)
		}
		return p.Masked(), uint16(port), nil
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, 0, fmt.Errorf("%.60q is not an address such as 192.0.2.1, 192.0.2.0/24, 192.0.2.1:3333, 2001:db8::1 or [2001:db8::1]:3333", text)
	}
	return netip.PrefixFrom(a, a.BitLen()), uint16(port), nil
}

// ParseName parses a domain, and what is done with a process that names it: "pool.example",
// "pool.example refuse" or "pool.example kill".
func ParseName(text string) (name, then string, err error) {
	name, then, _ = strings.Cut(text, " ")
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if then != "" && then != "refuse" && then != "kill" {
		return "", "", fmt.Errorf("%.60q: after the name, %q is neither refuse nor kill", text, then)
	}
	labels := strings.Split(name, ".")
	if len(name) > 253 || len(labels) < 2 {
		return "", "", fmt.Errorf("%.60q is not a domain such as pool.example", text)
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", "", fmt.Errorf("%.60q is not a domain: the label %.63q is not of letters, digits, - and _", text, l)
		}
	}
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		return "", "", fmt.Errorf("%.60q is an address: list it under %s", text, KeyAddresses)
	}
	return name, then, nil
}

// network returns readers of the keys for connections.
func (s *Set) network(file string) map[string]func(strict.Value) {
	return map[string]func(strict.Value){
		KeyAddresses: texts(file, KeyAddresses, func(text string) error { _, _, err := ParseAddress(text); return err }, func(text string, origin Origin) {
			if p, port, err := ParseAddress(text); err == nil {
				s.Addresses = append(s.Addresses, Address{Prefix: p, Port: port, Origin: origin})
			}
		}),
		KeyNames: texts(file, KeyNames, func(text string) error { _, _, err := ParseName(text); return err }, func(text string, origin Origin) {
			if name, then, err := ParseName(text); err == nil {
				s.Names = append(s.Names, Name{Name: name, Then: then, Origin: origin})
			}
		}),
	}
}

// addressesExt is the extension of files with one address a line, as the Python program had
// them.
const addressesExt = ".addresses"

const (
	maxAddressFile = 64 << 20 // bytes
	maxProblems    = 20       // of a file that are listed
)

// uncommented returns a line of such a file without its comment.
func uncommented(line string) string {
	text, _, _ := strings.Cut(line, "#")
	return strings.TrimSpace(text)
}

// hasAddresses reports whether the first line of a file that is no comment is an address.
func hasAddresses(file string) bool {
	f, size, err := strict.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	for in := bufio.NewScanner(io.LimitReader(f, min(size, 1<<16))); in.Scan(); {
		if text := uncommented(in.Text()); text != "" {
			_, _, err := ParseAddress(text)
			return err == nil
		}
	}
	return false
}

// addAddresses appends the addresses of a file with one a line. # begins a comment.
func (s *Set) addAddresses(file string) error {
	f, size, err := strict.Open(file)
	if err != nil {
		return fmt.Errorf("reading addresses: %w", err)
	}
	defer f.Close()
	if size > maxAddressFile {
		return fmt.Errorf("%s has more than %d MiB", file, maxAddressFile>>20)
	}
	var errs []error
	in := bufio.NewScanner(io.LimitReader(f, size))
	for line := 1; in.Scan() && len(errs) < maxProblems; line++ {
		text := uncommented(in.Text())
		if text == "" {
			continue
		}
		p, port, err := ParseAddress(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", file, line, err))
			continue
		}
		s.Addresses = append(s.Addresses, Address{p, port, Kill, Origin{File: file, Line: line, Key: KeyAddresses, Index: len(s.Addresses)}})
	}
	if err := in.Err(); err != nil {
		errs = append(errs, fmt.Errorf("reading %s: %w", file, err))
	}
	return errors.Join(errs...)
}
