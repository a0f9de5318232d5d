package chart

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestOneSecretHasTheTokenOfAllWhoAskAndAnswer(t *testing.T) {
	const monitors = "metrics: {enabled: true, podMonitor: {enabled: true}, serviceMonitor: {enabled: true}"
	for settings, secret := range map[string]string{monitors + "}": "", monitors + ", tokenSecret: port}": "port"} {
		files := render(t, settings)
		all := objects(t, files)
		var agent struct{ ListenTokenFile string }
		if err := json.Unmarshal([]byte(text(t, all["ConfigMap cryptnono"], "data", "settings.json")), &agent); err != nil {
			t.Fatal(err)
		}
		var name any // of the Secret whose file the agent reads
		for _, m := range at(container(t, files), "volumeMounts").([]any) {
			dir := at(m, "mountPath").(string)
			if agent.ListenTokenFile != dir+"/token" {
				continue
			}
			for _, v := range pod(t, files)["volumes"].([]any) {
				if v := v.(values); v["name"] == at(m, "name") {
					name = at(v, "secret", "secretName")
					if at(v, "secret", "optional") != true || at(v, "secret", "defaultMode") != 0o400 {
						t.Errorf("volume %v", v)
					}
				}
			}
		}
		for what, got := range map[string]any{
			"the agent":      name,
			"PodMonitor":     at(all["PodMonitor cryptnono"], "spec", "podMetricsEndpoints", 0, "authorization", "credentials"),
			"ServiceMonitor": at(all["ServiceMonitor cryptnono"], "spec", "endpoints", 0, "authorization", "credentials"),
			"helm test":      at(all["Pod cryptnono-selftest"], "spec", "containers", 0, "env", 1, "valueFrom", "secretKeyRef"),
		} {
			if secret == "" && (got != nil || agent.ListenTokenFile != "") {
				t.Errorf("without a Secret, %s has %v", what, got)
			}
			if secret != "" && (got == nil || !strings.Contains(fmt.Sprint(got), secret) || what != "the agent" && at(got, "key") != "token") {
				t.Errorf("%s has %v", what, got)
			}
		}
	}
}
