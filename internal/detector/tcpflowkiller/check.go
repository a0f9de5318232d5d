package tcpflowkiller

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/tcpflowkiller/firstbytes"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// checks are what `cryptnono check` can be asked.
func checks() []detector.Check {
	return []detector.Check{
		{Name: "connect", Value: "HOST:PORT", Help: "show what a connection to HOST:PORT leads to", Run: checkConnect},
		{Name: "name", Value: "NAME", Help: "show what is done with a process that names the domain NAME", Run: checkName},
		{Name: "stream", Value: "FILE", Help: "show what is done for a connection that begins with the content of FILE, - for standard input", Run: checkStream},
	}
}

func policyOf(p detector.Policy) (*Settings, lists, error) {
	s, ok := p.Settings.(*Settings)
	if !ok {
		return nil, lists{}, fmt.Errorf("settings of type %T", p.Settings)
	}
	return s, listsOf(p.Matcher.Set), nil
}

// outcome says in words what an action does, and whether it kills.
func outcome(p detector.Policy, a bpfAct) (string, bool) {
	if p.Observe && a > bpfActACT_OBSERVE {
		a = bpfActACT_OBSERVE
	}
	switch a {
	case bpfActACT_KILL:
		return "would be refused, and its process killed", true
	case bpfActACT_KILL_CONTAINED:
		return "would be refused, and its process killed in a container", true
	case bpfActACT_REFUSE:
		return "would be refused", false
	case bpfActACT_OBSERVE:
		return "would be logged", false
	}
	return "would be let through", false
}

func checkConnect(p detector.Policy, target string) (string, bool, error) {
	s, l, err := policyOf(p)
	if err != nil {
		return "", false, err
	}
	host, text, err := net.SplitHostPort(target)
	if err != nil {
		return "", false, fmt.Errorf("%q is not HOST:PORT: %w", target, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", false, fmt.Errorf("%q has no port from 0 to 65535", target)
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return checkNamed(p, host)
	}
	switch a = a.Unmap(); a { // who connects to no address reaches the loopback
	case netip.IPv4Unspecified():
		a = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case netip.IPv6Unspecified():
		a = netip.IPv6Loopback()
	}
	var found *bannedAddress
	for i := range l.addresses {
		b := &l.addresses[i]
		prefix := unmapped(b.prefix)
		if !prefix.Contains(a) || len(b.ports) > 0 && !slices.Contains(b.ports, uint16(port)) {
			continue
		}
		if found == nil || found.observe && !b.observe || found.observe == b.observe && prefix.Bits() > unmapped(found.prefix).Bits() {
			found = b
		}
	}
	if found == nil {
		return "would be let through: the address is not banned", false, nil
	}
	act := s.capped(Kill).act()
	if found.observe {
		act = bpfActACT_OBSERVE
	}
	what, kills := outcome(p, act)
	return fmt.Sprintf("%s: %s (%s)", what, found.prefix, found.origin), kills, nil
}

// finder returns a look-up of names, and the origin of each.
func (l *lists) finder() func(string) firstbytes.Listed {
	all := l.kernelNames()
	return func(name string) firstbytes.Listed { return all[name] }
}

// checkName is for what an operator writes: it must be a domain.
func checkName(p detector.Policy, name string) (string, bool, error) {
	if _, _, err := rules.ParseName(name); err != nil {
		return "", false, err
	}
	return checkNamed(p, name)
}

// checkNamed is for what a program names, which can be anything.
func checkNamed(p detector.Policy, name string) (string, bool, error) {
	s, l, err := policyOf(p)
	if err != nil {
		return "", false, err
	}
	a := firstbytes.Judge([]byte("CONNECT "+strings.ToLower(name)+" "), firstbytes.NoQuestion, firstbytes.Decides{}, l.finder())
	if a.Listed == 0 || s.Names == Off {
		return "would be let through: the name is not listed", false, nil
	}
	n := l.names[a.Listed.Index()]
	act := bpfActACT_NOTHING
	switch a.Listed.Action() {
	case firstbytes.NameUsual:
		text := "would mark its process"
		what, _ := outcome(p, s.acts()[bpfVarActHello])
		return fmt.Sprintf("%s: TLS without ALPN, to a port other than 443, %s: %s (%s)", text, what, n.name, n.origin), false, nil
	case firstbytes.NameObserve:
		act = bpfActACT_OBSERVE
	case firstbytes.NameRefuse:
		act = min(bpfActACT_REFUSE, s.capped(s.Names).act())
	case firstbytes.NameKill:
		act = s.acts()[bpfVarActHello]
	}
	what, kills := outcome(p, act)
	return fmt.Sprintf("%s: %s (%s)", what, n.name, n.origin), kills, nil
}

// window is the number of bytes of a connection that are judged: WINDOW in stream.bpf.h.
const window = 16 << 10

func checkStream(p detector.Policy, file string) (string, bool, error) {
	s, l, err := policyOf(p)
	if err != nil {
		return "", false, err
	}
	f := os.Stdin
	if file != "-" {
		if f, err = os.Open(file); err != nil {
			return "", false, fmt.Errorf("reading a stream: %w", err)
		}
		defer f.Close()
	}
	b, err := io.ReadAll(io.LimitReader(f, window))
	if err != nil {
		return "", false, fmt.Errorf("reading a stream: %w", err)
	}
	a := firstbytes.Judge(b, firstbytes.NoQuestion, s.decides(), l.finder())
	acts := s.acts()
	var act bpfAct
	said := a.Found & firstbytes.Stratum
	pool := a.Listed != 0 && a.Listed.Action() != firstbytes.NameObserve && s.Names != Off
	switch {
	case said != 0 && a.InHTTP:
		act = acts[bpfVarActHttp]
	case said&firstbytes.Sure != 0:
		act = acts[bpfVarActStratum]
	case said != 0 && pool:
		act = acts[bpfVarActListed]
	case said != 0:
		act = acts[bpfVarActAmbiguous]
	case a.Listed != 0:
		return checkNamed(p, a.Name)
	default:
		return "would be let through: it begins like no miner", false, nil
	}
	what, kills := outcome(p, act)
	return fmt.Sprintf("%s: %s", what, said), kills, nil
}
