package notify

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// alerts returns the message as a list of one alert of Alertmanager. Its labels identify the
// alert: they do not have what differs between verdicts on one container by one rule. It has no
// end, so Alertmanager ends it after its resolve_timeout.
//
// https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml (postableAlerts)
func (m *message) alerts() ([]byte, string, error) {
	l := m.line
	alert := struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		StartsAt    time.Time         `json:"startsAt"`
	}{
		map[string]string{
			"alertname": "CryptnonoVerdict",
			"severity":  [...]string{notice: "info", warning: "warning", critical: "critical"}[severityOf(l.Action)],
			"action":    string(l.Action), "detector": l.Detector, "node": l.Node, "namespace": l.Namespace, "pod": l.Pod,
			"container": l.Container, "rule": l.Rule,
		},
		map[string]string{
			"summary": m.text(), "program": l.Program, "cmdline": l.Cmdline, "matched": l.Matched, "image": l.Image,
			"cgroup": l.Cgroup, "verdicts": strconv.FormatUint(m.verdicts(), 10),
		},
		l.Time,
	}
	if l.UID != nil {
		alert.Annotations["uid"] = strconv.FormatUint(uint64(*l.UID), 10)
	}
	for key, value := range l.Labels {
		alert.Annotations["label_"+labelName(key)] = value
	}
	for key, value := range l.Annotations {
		alert.Annotations["annotation_"+labelName(key)] = value
	}
	for _, texts := range []map[string]string{alert.Labels, alert.Annotations} {
		for key, value := range texts {
			if value == "" {
				delete(texts, key)
			}
		}
	}
	body, err := json.Marshal([]any{alert})
	return body, "application/json", err
}

// labelName returns key with _ for characters that the name of a label of Prometheus cannot
// have, as kube-state-metrics does.
func labelName(key string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, key)
}
