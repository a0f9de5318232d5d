package chart

import (
	"flag"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

var update = flag.Bool("update", false, "write the golden files")

func TestLintFindsNothing(t *testing.T) {
	kube, err := chartutil.ParseKubeVersion("v1.34.0")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range lint.AllWithKubeVersion(chartDir, values{}, namespace, kube).Messages {
		// The information is that an icon is missing, which only catalogues need.
		if m.Severity > support.InfoSev {
			t.Error(m)
		}
	}
}

func TestDefaultsRenderAsTheGoldenFile(t *testing.T) {
	files := render(t, "{}")
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		b.WriteString("# " + name + "\n" + strings.TrimSpace(files[name]) + "\n")
	}
	const golden = "testdata/default.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, golden); b.String() != want {
		t.Errorf("differs from %s; see the difference after `go test -update`:\n%s", golden, b.String())
	}
}

func TestTheAgentHasTheLeastPrivileges(t *testing.T) {
	for name, text := range map[string]string{
		"by default":                 "{}",
		"with the old default":       "containerSecurityContext: {privileged: true}",
		"with what an old site gave": "containerSecurityContext: {privileged: true, capabilities: {add: [SYS_ADMIN]}, allowPrivilegeEscalation: false}",
	} {
		t.Run(name, func(t *testing.T) {
			files := render(t, text)
			want := values{
				"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false,
				"allowPrivilegeEscalation": false,
				"readOnlyRootFilesystem":   true,
				"seccompProfile":           values{"type": "RuntimeDefault"},
				"appArmorProfile":          values{"type": "Unconfined"},
				"capabilities": values{
					"drop": []any{"ALL"},
					"add":  []any{"BPF", "PERFMON", "KILL", "SYS_PTRACE", "DAC_READ_SEARCH", "NET_ADMIN", "CHECKPOINT_RESTORE"},
				},
			}
			if got := container(t, files)["securityContext"]; !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
			p := pod(t, files)
			for key, want := range map[string]any{
				"hostPID": true, "hostNetwork": nil, "hostIPC": nil, "initContainers": nil, "securityContext": nil,
				"automountServiceAccountToken": false, "enableServiceLinks": false,
			} {
				if got := p[key]; got != want {
					t.Errorf("%s: got %v, want %v", key, got, want)
				}
			}
		})
	}
}

func TestACapabilityForOneDetectorIsGivenOnlyWithIt(t *testing.T) {
	for name, capability := range map[string]string{"tcpflowkiller": "NET_ADMIN", "hashwork": "CHECKPOINT_RESTORE"} {
		files := render(t, "detectors: {"+name+": {enabled: false}}")
		added, _ := at(container(t, files), "securityContext", "capabilities", "add").([]any)
		if len(added) != 6 || slices.Contains(added, any(capability)) {
			t.Errorf("without %s: %v", name, added)
		}
	}
}

func TestTheSecurityContextCanBeExtended(t *testing.T) {
	c := container(t, render(t, `
containerSecurityContext: {seLinuxOptions: {type: spc_t}, seccompProfile: {type: Unconfined}}
extraCapabilities: [SYS_RESOURCE]
`))
	if got := at(c, "securityContext", "seLinuxOptions", "type"); got != "spc_t" {
		t.Errorf("SELinux type %v", got)
	}
	if got := at(c, "securityContext", "seccompProfile", "type"); got != "Unconfined" {
		t.Errorf("seccomp profile %v", got)
	}
	if got := at(c, "securityContext", "readOnlyRootFilesystem"); got != true {
		t.Errorf("read-only root %v", got)
	}
	if got := at(c, "securityContext", "capabilities", "add", 7); got != "SYS_RESOURCE" {
		t.Errorf("eighth capability %v", got)
	}
}

func TestAppArmorIsSetInTheFormOfTheKubernetesVersion(t *testing.T) {
	const annotation = "container.apparmor.security.beta.kubernetes.io/cryptnono"
	for version, field := range map[string]bool{"v1.29.9": false, "v1.30.0": true, "v1.31.2-gke.100": true} {
		files, err := renderTo(t, target{kubernetes: version}, values{})
		if err != nil {
			t.Fatal(err)
		}
		if got := at(container(t, files), "securityContext", "appArmorProfile") != nil; got != field {
			t.Errorf("%s: field %v", version, got)
		}
		if got := at(daemonSet(t, files), "spec", "template", "metadata", "annotations", annotation) == "unconfined"; got == field {
			t.Errorf("%s: annotation %v", version, got)
		}
	}
}

func TestTooOldAKubernetesIsRefused(t *testing.T) {
	c := load(t)
	if chartutil.IsCompatibleRange(c.Metadata.KubeVersion, "v1.24.9") || !chartutil.IsCompatibleRange(c.Metadata.KubeVersion, "v1.25.0-gke.1") {
		t.Errorf("kubeVersion %q", c.Metadata.KubeVersion)
	}
}

func TestChartAndAgentHaveOneVersion(t *testing.T) {
	if c := load(t); c.Metadata.Version != c.Metadata.AppVersion {
		t.Errorf("version %s, appVersion %s", c.Metadata.Version, c.Metadata.AppVersion)
	}
}

func TestTheImageIsThatOfTheChartByDefault(t *testing.T) {
	for text, want := range map[string]string{
		"{}":                                   "cryptnono/cryptnono:" + load(t).Metadata.AppVersion,
		"image: {repository: r.example/c}":     "r.example/c:" + load(t).Metadata.AppVersion,
		"image: {tag: v1}":                     "cryptnono/cryptnono:v1",
		`image: {tag: "sha256:0123456789abc"}`: "cryptnono/cryptnono@sha256:0123456789abc",
	} {
		files := render(t, text)
		if got := container(t, files)["image"]; got != want {
			t.Errorf("%s: %v", text, got)
		}
		if got := at(objects(t, files)["Pod cryptnono-selftest"], "spec", "containers", 0, "image"); got != want {
			t.Errorf("%s: the self-test has %v", text, got)
		}
	}
}

func TestThePodsCanHaveAPriorityClassOfTheirOwn(t *testing.T) {
	for text, want := range map[string]string{
		"{}": "", "priorityClassName: system-node-critical": "system-node-critical",
		"priorityClass: {create: true}":                          namespace + "-cryptnono",
		"priorityClass: {create: true}\npriorityClassName: mine": "mine",
	} {
		files := render(t, text)
		got, _ := pod(t, files)["priorityClassName"].(string)
		if got != want {
			t.Errorf("%s: class %q, want %q", text, got, want)
		}
		class := objects(t, files)["PriorityClass "+want]
		if made := class != nil; made != strings.Contains(text, "create") {
			t.Errorf("%s: created is %v", text, made)
		}
		if class != nil && (class["preemptionPolicy"] != "Never" || class["value"] != 1000000) {
			t.Errorf("%s: %v", text, class)
		}
	}
}
