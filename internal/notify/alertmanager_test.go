package notify

import (
	"strings"
	"testing"
)

func TestLabelsWithTheSameNameInPrometheusAreAllSent(t *testing.T) {
	text := strings.Replace(killed, `"labels":{`, `"labels":{"a/b":"1","a.b":"2","a_b":"3","a-c":"4",`, 1)
	for range 20 { // the order of a map
		body := string(encoded(t, &message{line: parsed(t, text), id: "1"}, Alertmanager, "application/json"))
		for _, want := range []string{`"label_a_b_conflict1":"2"`, `"label_a_b_conflict2":"1"`, `"label_a_b_conflict3":"3"`, `"label_a_c":"4"`} {
			if !strings.Contains(body, want) {
				t.Fatalf("no %s in %s", want, body)
			}
		}
	}
}
