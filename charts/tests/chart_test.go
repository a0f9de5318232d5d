// Package chart tests the Helm chart with Helm's own code: the objects that it renders,
// the values that it refuses, and that its alerts and its dashboard query metrics that
// the agent has. It is a separate module, so that the agent does not depend on the
// modules of Helm and Prometheus.
package chart

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	helm "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	scheduling "k8s.io/api/scheduling/v1"
	kubernetes "sigs.k8s.io/yaml"
)

const (
	chartDir  = "../../charts/cryptnono"
	namespace = "security"
	notes     = "NOTES.txt"
)

// values are Helm values, or a part of a rendered object.
type values = map[string]any

// parse reads values as Helm does.
func parse(t *testing.T, text string) values {
	t.Helper()
	v, err := chartutil.ReadValues([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func load(t *testing.T) *helm.Chart {
	t.Helper()
	c, err := loader.LoadDir(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A target is where a release is installed. The zero value is the default namespace and
// release on a recent Kubernetes.
type target struct {
	namespace  string
	release    string
	kubernetes string
}

// renderTo returns the files that the chart renders, by their names below
// templates, or the error of Helm.
func renderTo(t *testing.T, to target, v values) (map[string]string, error) {
	t.Helper()
	return renderChart(t, load(t), to, v)
}

// renderChart is renderTo for a chart.
func renderChart(t *testing.T, c *helm.Chart, to target, v values) (map[string]string, error) {
	t.Helper()
	capabilities := chartutil.DefaultCapabilities.Copy()
	version := to.kubernetes
	if version == "" {
		version = "v1.34.0"
	}
	kube, err := chartutil.ParseKubeVersion(version)
	if err != nil {
		t.Fatal(err)
	}
	capabilities.KubeVersion = *kube
	release := chartutil.ReleaseOptions{Name: "cryptnono", Namespace: namespace, IsInstall: true, Revision: 1}
	if to.namespace != "" {
		release.Namespace = to.namespace
	}
	if to.release != "" {
		release.Name = to.release
	}
	if err := chartutil.ProcessDependencies(c, v); err != nil {
		return nil, err
	}
	all, err := chartutil.ToRenderValues(c, v, release, capabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	short := make(map[string]string)
	for name, text := range files {
		if strings.TrimSpace(text) != "" {
			short[strings.TrimPrefix(name, c.Name()+"/templates/")] = text
		}
	}
	return short, nil
}

func render(t *testing.T, text string) map[string]string {
	t.Helper()
	files, err := renderTo(t, target{}, parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// kinds are the types of Kubernetes' own objects.
func kinds() map[string]any {
	return map[string]any{
		"ConfigMap":      new(core.ConfigMap),
		"DaemonSet":      new(apps.DaemonSet),
		"Job":            new(batch.Job),
		"NetworkPolicy":  new(networking.NetworkPolicy),
		"Pod":            new(core.Pod),
		"PriorityClass":  new(scheduling.PriorityClass),
		"Service":        new(core.Service),
		"ServiceAccount": new(core.ServiceAccount),
	}
}

// objects returns the Kubernetes objects in rendered files, by "Kind name". Keys
// that are given twice, that Kubernetes does not know, or whose values are of
// another type, are errors.
func objects(t *testing.T, files map[string]string) map[string]values {
	t.Helper()
	found := make(map[string]values)
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if path.Base(file) == notes {
			continue
		}
		decoder := yaml.NewDecoder(bytes.NewBufferString(files[file]))
		for document := 0; ; {
			var o values
			err := decoder.Decode(&o)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v\n%s", file, err, files[file])
			}
			if o == nil {
				continue
			}
			if kind := kinds()[text(t, o, "kind")]; kind != nil {
				if err := decode(documents(files[file])[document], kind); err != nil {
					t.Errorf("%s: %v\n%s", file, err, files[file])
				}
			}
			document++
			name := text(t, o, "kind") + " " + text(t, o, "metadata", "name")
			if found[name] != nil {
				t.Errorf("%s is rendered twice", name)
			}
			found[name] = o
		}
	}
	return found
}

// decode reads an object through JSON, as kubectl and the API server do.
func decode(document string, kind any) error {
	asJSON, err := kubernetes.YAMLToJSONStrict([]byte(document))
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(asJSON))
	d.DisallowUnknownFields()
	return d.Decode(kind)
}

// documents splits a rendered file as Helm does.
func documents(file string) []string {
	var found []string
	for d := range strings.SplitSeq("\n"+file, "\n---\n") {
		if strings.TrimSpace(d) != "" {
			found = append(found, d)
		}
	}
	return found
}

// at returns the value at a path of keys and indices, or nil.
func at(o any, keys ...any) any {
	for _, key := range keys {
		switch k := key.(type) {
		case string:
			m, _ := o.(values)
			o = m[k]
		case int:
			l, _ := o.([]any)
			if k >= len(l) {
				return nil
			}
			o = l[k]
		}
	}
	return o
}

func text(t *testing.T, o any, keys ...any) string {
	t.Helper()
	s, ok := at(o, keys...).(string)
	if !ok {
		t.Fatalf("%v: want a string, found %v", keys, at(o, keys...))
	}
	return s
}

// daemonSet returns the DaemonSet of rendered files.
func daemonSet(t *testing.T, files map[string]string) values {
	t.Helper()
	for name, o := range objects(t, files) {
		if strings.HasPrefix(name, "DaemonSet ") {
			return o
		}
	}
	t.Fatal("no DaemonSet")
	return nil
}

func pod(t *testing.T, files map[string]string) values {
	t.Helper()
	return at(daemonSet(t, files), "spec", "template", "spec").(values)
}

func container(t *testing.T, files map[string]string) values {
	t.Helper()
	all := pod(t, files)["containers"].([]any)
	if len(all) != 1 {
		t.Fatalf("%d containers", len(all))
	}
	return all[0].(values)
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
