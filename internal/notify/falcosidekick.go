package notify

import (
	"encoding/json"
	"path"
	"time"
)

// falcoAlert returns the message as an alert of Falco, which Falcosidekick and Falco Talon
// read. The rule is "cryptnono ACTION". The fields have the names that Falco gives them, and
// cryptnono.* for others.
//
// https://github.com/falcosecurity/falcosidekick/blob/master/types/types.go (FalcoPayload)
// https://falco.org/docs/reference/rules/supported-fields/
func (m *message) falcoAlert() ([]byte, string, error) {
	l := m.line
	fields := map[string]any{"cryptnono.verdicts": m.verdicts(), "cryptnono.action": l.Action}
	for key, text := range map[string]string{
		"proc.exepath": l.Program, "proc.cmdline": l.Cmdline,
		"container.id": l.ContainerID, "container.name": l.Container, "container.image": l.Image,
		"k8s.ns.name": l.Namespace, "k8s.pod.name": l.Pod,
		"cryptnono.detector": l.Detector, "cryptnono.source": l.Source, "cryptnono.rule": l.Rule, "cryptnono.matched": l.Matched,
		"cryptnono.allowedby": l.AllowedBy, "cryptnono.cgroup": l.Cgroup,
	} {
		if text != "" {
			fields[key] = text
		}
	}
	if l.Program != "" {
		fields["proc.name"] = path.Base(l.Program)
	}
	if l.PID > 0 {
		fields["proc.pid"], fields["proc.ppid"] = l.PID, l.PPID
	}
	if l.UID != nil {
		fields["user.uid"] = *l.UID
	}
	for key, value := range l.Labels {
		fields["k8s.pod.label["+key+"]"] = value
	}
	for key, value := range l.Annotations {
		fields["k8s.pod.annotation["+key+"]"] = value
	}
	body, err := json.Marshal(struct {
		Output       string         `json:"output"`
		Priority     string         `json:"priority"`
		Rule         string         `json:"rule"`
		Time         time.Time      `json:"time"`
		Source       string         `json:"source"`
		Hostname     string         `json:"hostname,omitempty"`
		Tags         []string       `json:"tags"`
		OutputFields map[string]any `json:"output_fields"`
	}{
		m.text(), [...]string{notice: "Notice", warning: "Warning", critical: "Critical"}[severityOf(l.Action)],
		"cryptnono " + string(l.Action), l.Time.UTC(), "cryptnono", l.Node, []string{"cryptnono", "mitre_impact", "T1496"}, fields,
	})
	return body, "application/json", err
}
