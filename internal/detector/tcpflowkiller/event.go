package tcpflowkiller

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"unsafe"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/detector/tcpflowkiller/firstbytes"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// reasons are the values of the log key source and of the label reason.
var reasons = [bpfReasonREASONS]string{"banned-ip", "scan", "stratum", "name"} //nolint:gochecknoglobals // read only

// scanRules are the names of the limits, by enum scan_rule.
var scanRules = [...]string{ //nolint:gochecknoglobals // read only
	bpfScanRuleSCAN_DISTINCT: "distinct", bpfScanRuleSCAN_UNANSWERED: "unanswered", bpfScanRuleSCAN_PENDING: "pending",
	bpfScanRuleSCAN_PORTS: "ports", bpfScanRuleSCAN_GUESSING: "guessing",
}

// An event is a verdict of the kernel.
type event struct {
	verdict.Event
	raw     bpfEvent // its texts are not filled in
	program string
	args    []byte
	omitted int         // bytes of the arguments that are not in args
	env     []byte      // the first 4 KiB, if variables are logged
	at      []slog.Attr // when it was, if that was before the agent
}

const textAt = int(unsafe.Offsetof(bpfEvent{}.Text))

// decodeEvent decodes a record of the ring buffer. The event does not share memory with it.
func decodeEvent(record []byte, paths cgroup.Parser) (event, error) {
	head, _, err := verdict.DecodeEvent(record, textAt, paths)
	if err != nil {
		return event{}, err
	}
	e := event{Event: head}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&e.raw)), textAt), record)
	if int(e.raw.Reason) >= len(reasons) || int(e.raw.ArgsLen) > len(e.raw.Args) || int(e.raw.EnvLen) > len(e.raw.Env) {
		return event{}, fmt.Errorf("decoding an event of a connection: reason %d, %d bytes of arguments", e.raw.Reason, e.raw.ArgsLen)
	}
	name, _, _ := bytes.Cut(e.raw.Program[:], []byte{0})
	e.program = string(name)
	e.args = bytes.Clone(e.raw.Args[:e.raw.ArgsLen])
	if len(e.args) > 0 {
		e.omitted = max(int(e.raw.ArgsTotal)-len(e.args), 0)
	}
	e.env = bytes.Clone(e.raw.Env[:e.raw.EnvLen])
	return e, nil
}

// address returns the destination.
func (e *event) address() netip.Addr { return addressOf(e.raw.To) }

func addressOf(a bpfAddress) netip.Addr {
	var b [16]byte
	for i, w := range a.Word {
		binary.NativeEndian.PutUint32(b[4*i:], w)
	}
	if a.Family == familyIPv4 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}

// The values of AF_INET and of protocols.
const (
	familyIPv4    = 2
	protocolTCP   = 6
	protocolUDP   = 17
	protocolMPTCP = 262
)

func protocolName(number uint16) string {
	switch number {
	case protocolTCP:
		return "tcp"
	case protocolUDP:
		return "udp"
	case protocolMPTCP:
		return "mptcp"
	}
	return fmt.Sprintf("ip %d", number)
}

// line returns the log line, without process and action.
func (e *event) line(p *policy) report.Verdict {
	l := report.Verdict{
		Detector: Name, Source: reasons[e.raw.Reason], After: e.Took,
		Program: report.Program([]byte(e.program)),
		Cmdline: report.Cmdline(e.args, e.omitted),
		Env:     procread.Environ(e.env, p.LogEnv),
	}
	said := firstbytes.Finding(e.raw.Finding).String()
	l.Matched = said
	switch e.raw.Reason {
	case uint32(bpfReasonBECAUSE_ADDRESS):
		l.Matched = e.address().String()
		l.Rule = p.lists.origin(e.raw.Rule)
		said = ""
	case uint32(bpfReasonBECAUSE_SCAN):
		said = ""
		if int(e.raw.Finding) < len(scanRules) {
			l.Matched = scanRules[e.raw.Finding]
			l.Rule = Name + " scan." + l.Matched
		}
	case uint32(bpfReasonBECAUSE_STRATUM):
		l.Rule = Name + " stratum"
	case uint32(bpfReasonBECAUSE_NAME):
		l.Rule = Name + " names"
	}
	name := ""
	if listed := firstbytes.Listed(e.raw.Listed); listed != 0 && listed.Index() < len(p.lists.names) {
		n := p.lists.names[listed.Index()]
		name = n.name
		if e.raw.Reason == uint32(bpfReasonBECAUSE_NAME) {
			l.Matched, l.Rule = name, n.origin
		}
	}
	details := []slog.Attr{
		slog.String("protocol", protocolName(e.raw.Protocol)),
		slog.String("destination", e.address().String()),
		slog.Int("port", int(e.raw.To.Port)),
	}
	if e.raw.AskedPort != 0 {
		details = append(details, slog.Int("asked_port", int(e.raw.AskedPort)))
	}
	if name != "" {
		details = append(details, slog.String("name", name))
	}
	if said != "" {
		details = append(details, slog.String("said", said))
	}
	if e.raw.Counts != 0 {
		details = append(details, slog.Int("destinations", int(e.raw.Counts)))
	}
	details = append(details, slog.Bool("refused", e.raw.Refused != 0))
	if why := sparedBy(e.raw.Spared); why != "" {
		details = append(details, slog.String("spared", why))
	}
	if p.gone {
		l.Rule = "rules of the agent before"
	}
	l.Details = append(details, e.at...)
	return l
}

// sparedBy returns why the process of a refused connection is not killed.
func sparedBy(spared uint32) string {
	switch bpfSpared(spared) {
	case bpfSparedSPARED_FORWARDER:
		return "forwarder"
	case bpfSparedSPARED_HOST:
		return "host"
	case bpfSparedSPARED_PROTECTED:
		return "protected"
	case bpfSparedSPARED_RULE:
		return "rule"
	case bpfSparedSPARED_PASSED:
		return "passed"
	case bpfSparedSPARED_NOBODY:
		return "nobody"
	case bpfSparedNOT_SPARED:
	}
	return ""
}
