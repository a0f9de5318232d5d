package chart

import (
	"os/exec"
	"regexp"
	"testing"
)

func TestTheReadmeIsGeneratedFromTheValues(t *testing.T) {
	out, err := exec.Command("go", "tool", "helm-docs", "--dry-run", "--log-level=error",
		"--chart-search-root="+chartDir, "--sort-values-order=file").Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := read(t, chartDir+"/README.md"); string(out) != want {
		t.Error("charts/cryptnono/README.md is not what its values give: run `make chart-docs`")
	}
}

func TestEveryValueIsDescribed(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| ([\\w.]+) \\| [^|]+ \\| `.*` \\| (.*) \\|$").FindAllStringSubmatch(read(t, chartDir+"/README.md"), -1)
	described := make(map[string]bool)
	for _, r := range rows {
		described[r[1]] = true
		if r[2] == "" {
			t.Errorf("%s is not described in values.yaml", r[1])
		}
	}
	// A value has its own row, or is part of a value that has one.
	var walk func(v any, path string)
	walk = func(v any, path string) {
		if described[path] {
			return
		}
		m, _ := v.(values)
		if len(m) == 0 {
			t.Errorf("%s is not in the table", path)
		}
		for key, value := range m {
			walk(value, path+"."+key)
		}
	}
	for key, value := range parse(t, read(t, chartDir+"/values.yaml")) {
		walk(value, key)
	}
}

func TestTheValuesForHubsRender(t *testing.T) {
	m := regexp.MustCompile("(?s)For a JupyterHub or BinderHub, we recommend\n\n```yaml\n(.*?)```").FindStringSubmatch(read(t, chartDir+"/README.md"))
	if m == nil {
		t.Fatal("the README recommends nothing")
	}
	files := render(t, m[1])
	if got := at(pod(t, files), "priorityClassName"); got != "system-node-critical" {
		t.Errorf("the PriorityClass is %v", got)
	}
	if got := at(daemonSet(t, files), "spec", "updateStrategy", "rollingUpdate", "maxSurge"); got != 0 {
		t.Errorf("an update needs room for %v more", got)
	}
	if !regexp.MustCompile(`"pins": "/sys/fs/bpf/cryptnono"`).MatchString(text(t, objects(t, files)["ConfigMap cryptnono"], "data", "settings.json")) {
		t.Error("the agent does not know of pins")
	}
	if _, ok := objects(t, render(t, m[1]+"\ndetectors: {execwhacker: {secrets: [mine]}}"))["Job cryptnono-check-rules"]; !ok {
		t.Error("rules are not checked")
	}
}
