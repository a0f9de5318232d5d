package notify

import (
	"encoding/json"
	"maps"
	"slices"
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
	addNamed(alert.Annotations, "label_", l.Labels)
	addNamed(alert.Annotations, "annotation_", l.Annotations)
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

// addNamed adds texts by the labelName of their keys. Where two keys have the same, each has a number behind it, in
// the order of the keys, as kube-state-metrics does: else one would be lost, and another one in each message.
func addNamed(to map[string]string, prefix string, texts map[string]string) {
	same, numbers := make(map[string]int), make(map[string]int)
	for key := range texts {
		same[labelName(key)]++
	}
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		name := labelName(key)
		at := prefix + name
		if same[name] > 1 {
			numbers[name]++
			at += "_conflict" + strconv.Itoa(numbers[name])
		}
		to[at] = texts[key]
	}
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
