package notify

import (
	"bytes"
	"encoding/json"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/report"
)

// killed is a line as the agent writes it, with all keys.
const killed = `{"time":"2026-11-27T19:00:00.123456789Z","level":"INFO","msg":"killed a process","action":"killed","detector":"execwhacker","source":"exec",` +
	`"pid":4711,"ppid":4242,"uid":1000,"program":"/tmp/x <&>","cmdline":"x --token=*** \\x0a","cgroup":"/kubepods/besteffort/pod1/c1","matched":"x","rule":"r.yaml:1 bannedPrograms[0]",` +
	`"after_seconds":0.00002,"env":{"A":"b"},"source_of_a_detector":{"program":1},` +
	`"container_id":"c1","container":"notebook","image":"hub:1","pod":"jupyter-ada","namespace":"hub",` +
	`"labels":{"app.kubernetes.io/name":"jupyterhub","hub.jupyter.org/username":"ada-40"},` +
	`"annotations":{"hub.jupyter.org/username":"ada@example.com"},"node":"node 1"}` + "\n"

// outside is a line of a process outside of containers, in a digest of 12.
const outside = `{"time":"2026-11-27T19:00:00Z","level":"INFO","msg":"observed a process","action":"observed","detector":"monero","source":"rounding",` +
	`"pid":1,"ppid":1,"uid":0,"program":"","cmdline":"","cgroup":"/user.slice/user-1000.slice/session-1.scope","after_seconds":1}` + "\n"

func parsed(t *testing.T, text string) *line {
	t.Helper()
	l, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// messages returns one message of each kind.
func messages(t *testing.T) map[string]*message {
	t.Helper()
	digest := newMessage(time.Now())
	for range 2 {
		digest.add(parsed(t, outside))
	}
	digest.add(parsed(t, killed))
	digest.add(parsed(t, strings.Replace(outside, `"detector"`, `"suppressed":9,"detector"`, 1)))
	return map[string]*message{
		"a line":  {line: parsed(t, killed), id: "1"},
		"outside": {line: parsed(t, outside), id: "2"},
		"digest":  &digest,
	}
}

// into decodes JSON strictly: an unknown key is an error.
func into(t *testing.T, body []byte, value any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(value); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
}

func encoded(t *testing.T, m *message, f Format, wantType string) []byte {
	t.Helper()
	body, contentType, err := m.encode(f)
	if err != nil || contentType != wantType {
		t.Fatalf("%s, %v", contentType, err)
	}
	return body
}

func TestJSONIsTheLogLine(t *testing.T) {
	all := messages(t)
	if got := encoded(t, all["a line"], JSON, "application/json"); string(got)+"\n" != killed {
		t.Errorf("got %s", got)
	}
	want := strings.TrimSuffix(killed, "}\n") + `,"verdicts":12,"actions":{"killed":1,"observed":11}}`
	if got := encoded(t, all["digest"], JSON, "application/json"); string(got) != want {
		t.Errorf("got %s", got)
	}
}

// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/cloudevents.json
func TestCloudEventsFitTheirSchema(t *testing.T) {
	for name, m := range messages(t) {
		t.Run(name, func(t *testing.T) {
			var e struct {
				SpecVersion, ID, Source, Type, DataContentType string
				Subject                                        *string
				Time                                           string
				Data                                           map[string]any
			}
			body := encoded(t, m, CloudEvents, "application/cloudevents+json; charset=UTF-8")
			into(t, body, &e)
			for _, key := range []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"} { // in small letters
				if !bytes.Contains(body, []byte(`"`+key+`":`)) {
					t.Errorf("no %s in %s", key, body)
				}
			}
			if _, err := url.Parse(e.Source); err != nil || e.SpecVersion != "1.0" || e.ID != m.id || e.Source == "" || e.Type != "com.github.cryptnono.verdict" {
				t.Errorf("got %+v, %v", e, err)
			}
			if _, err := time.Parse(time.RFC3339, e.Time); err != nil || e.DataContentType != "application/json" || e.Subject == nil || *e.Subject == "" {
				t.Errorf("got %+v, %v", e, err)
			}
			var want map[string]any
			if err := json.Unmarshal(m.json(), &want); err != nil || !reflect.DeepEqual(e.Data, want) {
				t.Errorf("data %v, want %v, %v", e.Data, want, err)
			}
		})
	}
}

// FalcoPayload and Check in falcosidekick's types, and what its handler expects of fields: those
// of Kubernetes are text.
func TestAlertsOfFalcoFitFalcosidekick(t *testing.T) {
	type payload struct {
		UUID, Output, Priority, Rule string
		Time                         time.Time
		OutputFields                 map[string]any `json:"output_fields"`
		Source                       string
		Tags                         []string
		Hostname                     string
	}
	got := make(map[string]payload)
	for name, m := range messages(t) {
		var p payload
		into(t, encoded(t, m, Falcosidekick, "application/json"), &p)
		if !regexp.MustCompile(`^(Emergency|Alert|Critical|Error|Warning|Notice|Informational|Debug)$`).MatchString(p.Priority) ||
			p.Rule == "" || p.Time.IsZero() || len(p.OutputFields) == 0 || p.Output == "" {
			t.Errorf("%s: got %+v", name, p)
		}
		for _, key := range []string{"k8s.ns.name", "k8s.pod.name"} {
			value, there := p.OutputFields[key]
			if _, text := value.(string); there && !text {
				t.Errorf("%s: %s is %v", name, key, value)
			}
		}
		got[name] = p
	}
	l := got["a line"]
	for key, want := range map[string]any{
		"k8s.ns.name": "hub", "k8s.pod.name": "jupyter-ada", "container.id": "c1", "container.name": "notebook", "proc.pid": 4711.0, "user.uid": 1000.0,
		"proc.cmdline": `x --token=*** \x0a`, "cryptnono.matched": "x", "cryptnono.verdicts": 1.0,
		"k8s.pod.label[hub.jupyter.org/username]": "ada-40", "k8s.pod.annotation[hub.jupyter.org/username]": "ada@example.com",
	} {
		if l.OutputFields[key] != want {
			t.Errorf("%s is %v, want %v", key, l.OutputFields[key], want)
		}
	}
	if l.Rule != "cryptnono killed" || l.Priority != "Critical" || l.Hostname != "node 1" || l.Source != "cryptnono" {
		t.Errorf("got %+v", l)
	}
	const text = `cryptnono killed a process in hub/jupyter-ada on node 1, of user ada@example.com; detector: execwhacker; matched: x; command: x --token=*** \x0a`
	if l.Output != text {
		t.Errorf("got %s", l.Output)
	}
	if d := got["digest"]; d.Output != text+"; 12 verdicts (1 killed, 11 observed)" || d.OutputFields["cryptnono.verdicts"] != 12.0 {
		t.Errorf("got %+v", d)
	}
	if o := got["outside"]; o.Priority != "Warning" || o.OutputFields["k8s.pod.name"] != nil || o.OutputFields["user.uid"] != 0.0 {
		t.Errorf("got %+v", o)
	}
}

// postableAlerts in https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml, and the
// checks of model.Alert in its prometheus/common.
func TestAlertsFitTheSchemaOfAlertmanager(t *testing.T) {
	type alert struct {
		StartsAt, EndsAt    time.Time
		Labels, Annotations map[string]string
		GeneratorURL        string
	}
	for name, m := range messages(t) {
		var alerts []alert
		into(t, encoded(t, m, Alertmanager, "application/json"), &alerts)
		a := alerts[0]
		if len(alerts) != 1 || a.StartsAt.IsZero() || a.Labels["alertname"] != "CryptnonoVerdict" {
			t.Errorf("%s: got %+v", name, a)
		}
		for _, texts := range []map[string]string{a.Labels, a.Annotations} {
			for key, value := range texts {
				if !regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`).MatchString(key) || value == "" {
					t.Errorf("%s: %q: %q", name, key, value)
				}
			}
		}
		if name != "digest" {
			continue
		}
		want := map[string]string{
			"alertname": "CryptnonoVerdict", "severity": "critical", "action": "killed", "detector": "execwhacker", "node": "node 1", "namespace": "hub",
			"pod": "jupyter-ada", "container": "notebook", "rule": "r.yaml:1 bannedPrograms[0]",
		}
		if !reflect.DeepEqual(a.Labels, want) || a.Annotations["verdicts"] != "12" || a.Annotations["uid"] != "1000" ||
			a.Annotations["annotation_hub_jupyter_org_username"] != "ada@example.com" || a.Annotations["label_app_kubernetes_io_name"] != "jupyterhub" {
			t.Errorf("got %v, %v", a.Labels, a.Annotations)
		}
	}
}

func TestEachActionHasASeverity(t *testing.T) {
	want := map[report.Action]severity{
		report.Killed: critical, report.KillFailed: critical, report.MissedKill: warning, report.Refused: warning, report.Observed: warning,
		report.Spared: notice, report.Busy: notice,
	}
	for _, a := range report.Actions() {
		if s, ok := want[a]; !ok || severityOf(a) != s {
			t.Errorf("%s: %v, want %v", a, severityOf(a), s)
		}
	}
}

func TestALineThatIsNotJSONIsAnError(t *testing.T) {
	if l, err := parse([]byte(killed[:100])); err == nil {
		t.Errorf("got %+v", l)
	}
}

func TestOwners(t *testing.T) {
	for text, want := range map[string]string{
		killed: "c1", outside: "/user.slice/user-1000.slice", `{"cgroup":"/"}`: "/", `{"cgroup":"/system.slice"}`: "/system.slice", `{}`: "",
	} {
		if got := parsed(t, text).owner(); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
