package chart

import (
	"reflect"
	"strings"
	"testing"
)

func networkPolicy(t *testing.T, settings string) values {
	t.Helper()
	return objects(t, render(t, settings))["NetworkPolicy cryptnono"]
}

func TestAllPodsReachThePortByDefault(t *testing.T) {
	if p := networkPolicy(t, "{}"); p != nil {
		t.Errorf("by default there is %v", p)
	}
	p := networkPolicy(t, "networkPolicy: {enabled: true}")
	if !reflect.DeepEqual(at(p, "spec", "policyTypes"), []any{"Ingress"}) {
		t.Errorf("with nobody named: %v", p)
	}
	ofTheSelfTest := values{"podSelector": values{"matchLabels": values{
		"app.kubernetes.io/name": "cryptnono-selftest", "app.kubernetes.io/instance": "cryptnono",
	}}}
	if !reflect.DeepEqual(at(p, "spec", "ingress", 0, "from"), []any{ofTheSelfTest}) {
		t.Errorf("with nobody named: %v", p)
	}
	p = networkPolicy(t, `
detectors: {execwhacker: {metrics: {port: 9121}}}
networkPolicy:
  enabled: true
  labels: {a: b}
  from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
`)
	want := []any{values{
		"from":  []any{ofTheSelfTest, values{"namespaceSelector": values{"matchLabels": values{"kubernetes.io/metadata.name": "monitoring"}}}},
		"ports": []any{values{"port": "http", "protocol": "TCP"}},
	}}
	if got := at(p, "spec", "ingress"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := at(p, "metadata", "labels", "a"); got != "b" {
		t.Errorf("label %v", got)
	}
}

func TestThePolicySelectsTheAgentsAndTheirPort(t *testing.T) {
	files := render(t, "networkPolicy: {enabled: true, from: [{podSelector: {}}]}")
	p := objects(t, files)["NetworkPolicy cryptnono"]
	labels := at(daemonSet(t, files), "spec", "template", "metadata", "labels").(values)
	for key, value := range at(p, "spec", "ingress", 0, "from", 0, "podSelector", "matchLabels").(values) {
		if got := at(objects(t, files)["Pod cryptnono-selftest"], "metadata", "labels", key); got != value {
			t.Errorf("%s: %v may ask, the self-test has %v", key, value, got)
		}
	}
	for key, value := range at(p, "spec", "podSelector", "matchLabels").(values) {
		if labels[key] != value {
			t.Errorf("%s: %v selected, the pods have %v", key, value, labels[key])
		}
	}
	if got, want := at(p, "spec", "ingress", 0, "ports", 0, "port"), at(container(t, files), "ports", 0, "name"); got != want {
		t.Errorf("port %v, the agent's is %v", got, want)
	}
}

func TestAPeerThatIsEmptyIsRefused(t *testing.T) {
	_, err := renderTo(t, target{}, parse(t, "networkPolicy: {enabled: true, from: [{}]}"))
	if err == nil || !strings.Contains(err.Error(), "networkPolicy") {
		t.Errorf("got %v", err)
	}
}
