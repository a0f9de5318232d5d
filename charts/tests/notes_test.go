package chart

import (
	"reflect"
	"strings"
	"testing"
)

func TestNotesShowTheNextSteps(t *testing.T) {
	for _, c := range []struct {
		name   string
		values string
		to     target
		want   []string
		not    []string
	}{
		{
			"by default", "{}", target{},
			[]string{
				"will kill cryptocurrency miners",
				"kubectl -n security rollout status daemonset/cryptnono\n",
				"helm test -n security cryptnono --logs\n",
				"/bin/echo cryptnono.BANNED.string1\n\nwhich is killed",
				"To try it without killing",
				"Never killed: pods in kube-system.",
			},
			[]string{"NOTICES", "observed", "unpin"},
		},
		{
			"in observe mode", "action: observe", target{},
			[]string{"kill nothing", `which is not killed, but logged with "action":"observed"`, "--set action=kill"},
			[]string{"To try it without killing", "which is killed"},
		},
		{
			"with pins, which outlive the agents", "pins: /sys/fs/bpf/cryptnono", target{},
			[]string{"Before helm uninstall", "--set pins= --set unpin=true"},
			nil,
		},
		{
			"in an exempt namespace", "{}", target{namespace: "kube-system"},
			[]string{"The namespace kube-system is exempt"},
			nil,
		},
		{
			"without exemptions", "exemptions: {namespaces: []}", target{namespace: "kube-system"},
			[]string{"which is killed", "Root on a node"},
			[]string{"is exempt,", "Never killed"},
		},
		{
			"without the exemption of root", "exemptions: {nodeRoot: false}", target{},
			[]string{"which is killed"},
			[]string{"Root on a node"},
		},
		{
			"without the detector of the self-test", "detectors: {execwhacker: {enabled: false}}", target{},
			[]string{"rollout status"},
			[]string{"helm test", "/bin/echo"},
		},
		{
			"with an old security context", "containerSecurityContext: {privileged: true}", target{},
			[]string{"NOTICES", "containerSecurityContext.privileged has no effect: Remove it"},
			[]string{"fetchKernelHeaders", "tcpflowkiller"},
		},
		{
			"with an option that no version of the detector of connections had", "detectors: {tcpflowkiller: {config: {Other: {speed: 3}}}}", target{},
			[]string{"detectors.tcpflowkiller.config.Other.speed has no effect: Remove it"},
			nil,
		},
		{
			"with metrics that nobody scrapes", "metrics: {enabled: true}", target{},
			[]string{"only metrics.enabled has no effect"},
			nil,
		},
		{
			"with metrics that an annotation tells of", "metrics: {enabled: true, collector: {enabled: true}}", target{},
			nil,
			[]string{"NOTICES"},
		},
		{
			"with exempt namespaces in place of the default", "exemptions: {namespaces: [hub]}", target{},
			[]string{"exemptions.namespaces replaces its default"},
			nil,
		},
		{
			"with an old setting of the detector of connections", "detectors: {tcpflowkiller: {config: {FlowKiller: {log_connects: true}}}}", target{},
			[]string{"detectors.tcpflowkiller.config.FlowKiller.log_connects has no effect: Remove it"},
			nil,
		},
		{
			"with that detector turned off", "detectors: {tcpflowkiller: {enabled: false}}", target{},
			nil,
			[]string{"tcpflowkiller"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			files, err := renderTo(t, c.to, parse(t, c.values))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(files[notes], want) {
					t.Errorf("no %q in\n%s", want, files[notes])
				}
			}
			for _, not := range c.not {
				if strings.Contains(files[notes], not) {
					t.Errorf("%q in\n%s", not, files[notes])
				}
			}
		})
	}
}

func TestTheSelfTestExpectsWhatTheSettingsSay(t *testing.T) {
	for _, c := range []struct {
		name, values, namespace, want string
	}{
		{"by default", "{}", "security", "killed"},
		{"in observe mode", "action: observe", "security", "alive"},
		{"if its rule observes", "builtinRules: {selftest: observe}", "security", "alive"},
		{"if its rule is off, because the chart has one", "builtinRules: {selftest: off}", "security", "killed"},
		{"in an exempt namespace", "{}", "kube-system", "alive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files, err := renderTo(t, target{namespace: c.namespace}, parse(t, c.values))
			if err != nil {
				t.Fatal(err)
			}
			p := objects(t, files)["Pod cryptnono-selftest"]
			if got := at(p, "spec", "containers", 0, "command", 2); got != c.want {
				t.Errorf("expects %v", got)
			}
			if at(p, "metadata", "annotations", "helm.sh/hook") != "test" {
				t.Errorf("metadata %v", p["metadata"])
			}
			if at(p, "spec", "containers", 0, "securityContext", "runAsNonRoot") != true || at(p, "spec", "hostPID") != nil {
				t.Errorf("it has privileges: %v", p["spec"])
			}
			if at(p, "spec", "containers", 0, "command", 4) != c.namespace+"/cryptnono" || at(p, "spec", "serviceAccountName") != "cryptnono-selftest" || at(p, "spec", "automountServiceAccountToken") != true {
				t.Errorf("it does not ask the agents: %v", p["spec"])
			}
		})
	}
	role := objects(t, render(t, "{}"))["Role cryptnono-selftest"]
	if want := []any{
		values{"apiGroups": []any{"apps"}, "resources": []any{"daemonsets"}, "resourceNames": []any{"cryptnono"}, "verbs": []any{"get"}},
		values{"apiGroups": []any{""}, "resources": []any{"pods"}, "verbs": []any{"list"}},
	}; !reflect.DeepEqual(role["rules"], want) {
		t.Errorf("its rights: %v", role["rules"])
	}
	if files := render(t, "detectors: {execwhacker: {enabled: false}}"); files["tests/selftest.yaml"] != "" {
		t.Error("there is a self-test that nothing could pass")
	}
}
