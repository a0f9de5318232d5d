package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/report"
)

// A line is a log line of a verdict, with the keys that formats need. docs/logs.md describes
// them.
type line struct {
	raw []byte // without the newline

	Time        time.Time
	Msg         string
	Action      report.Action
	Detector    string
	Source      string
	PID, PPID   int
	UID         *uint32
	Program     string
	Cmdline     string
	Cgroup      string
	ContainerID string `json:"container_id"`
	Container   string
	Image       string
	Pod         string
	Namespace   string
	Labels      map[string]string
	Annotations map[string]string
	Node        string
	Matched     string
	Rule        string
	AllowedBy   string
	Suppressed  uint64
}

// parse decodes a line of the verdicts' logger.
func parse(raw []byte) (*line, error) {
	l := &line{raw: bytes.TrimRight(raw, "\n")}
	err := json.Unmarshal(l.raw, l)
	if _, other := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !other { // a detector's own key
		return nil, fmt.Errorf("decoding a log line: %w", err)
	}
	return l, nil
}

// verdicts returns the number of verdicts that the line is about.
func (l *line) verdicts() uint64 { return max(l.Suppressed, 1) }

// owner returns the container, or outside of containers the first two levels of the cgroup's
// path, which are a user's slice or a service. So processes in it cannot have several owners.
func (l *line) owner() string {
	if l.ContainerID != "" {
		return l.ContainerID
	}
	parts := strings.SplitN(l.Cgroup, "/", 4)
	return strings.Join(parts[:min(len(parts), 3)], "/")
}

// where returns the pod, the container or the cgroup.
func (l *line) where() string {
	switch {
	case l.Pod != "":
		return l.Namespace + "/" + l.Pod
	case l.Container != "":
		return l.Container
	}
	return l.Cgroup
}

// A message is what is sent to a receiver: a line, or the digest of several.
type message struct {
	line   *line
	id     string    // unique
	queued time.Time // when it was queued
	owner  string    // in a queue: that of the line

	// Of a digest: the number of verdicts, of which line is one, by action. Else nil.
	actions map[report.Action]uint64
}

func (m *message) verdicts() (n uint64) {
	for _, verdicts := range m.actions {
		n += verdicts
	}
	return max(n, m.line.verdicts())
}

// add adds a line to a digest, and keeps the more severe line.
func (m *message) add(l *line) {
	if m.line == nil || severityOf(l.Action) > severityOf(m.line.Action) {
		m.line = l
	}
	if m.actions == nil {
		m.actions = make(map[report.Action]uint64)
	}
	m.actions[l.Action] += l.verdicts()
}

// json returns the log line. That of a digest has two more keys.
func (m *message) json() []byte {
	if m.actions == nil {
		return m.line.raw
	}
	actions, _ := json.Marshal(m.actions) // cannot fail
	return fmt.Appendf(bytes.TrimSuffix(slices.Clone(m.line.raw), []byte("}")), `,"verdicts":%d,"actions":%s}`, m.verdicts(), actions)
}

// text describes the verdict in one line for people.
func (m *message) text() string {
	l := m.line
	var b strings.Builder
	fmt.Fprintf(&b, "cryptnono %s in %s on %s", l.Msg, l.where(), l.Node)
	if user := l.Annotations[usernameKey]; user != "" {
		fmt.Fprintf(&b, ", of user %s", user)
	}
	for _, part := range []struct{ key, value string }{{"detector", l.Detector}, {"matched", l.Matched}, {"command", printable.Short(l.Cmdline, maxShown)}} {
		if part.value != "" {
			fmt.Fprintf(&b, "; %s: %s", part.key, part.value)
		}
	}
	if m.verdicts() > 1 {
		var parts []string
		for _, a := range slices.Sorted(maps.Keys(m.actions)) {
			parts = append(parts, fmt.Sprintf("%d %s", m.actions[a], a))
		}
		fmt.Fprintf(&b, "; %d verdicts (%s)", m.verdicts(), strings.Join(parts, ", "))
	}
	return b.String()
}

// usernameKey is the annotation with the name of JupyterHub's user.
const usernameKey = "hub.jupyter.org/username"

// maxShown is the maximum length of a command line in a text for people, in bytes.
const maxShown = 200

// severity is how much a verdict needs somebody.
type severity int

const (
	notice severity = iota
	warning
	critical
)

func severityOf(a report.Action) severity {
	switch a {
	case report.Killed, report.KillFailed:
		return critical
	case report.Spared, report.Busy, tested:
		return notice
	}
	return warning
}

// tested is the action of the message of Test.
const tested report.Action = "test"
