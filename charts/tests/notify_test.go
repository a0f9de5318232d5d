package chart

import (
	"fmt"
	"strings"
	"testing"
)

const receivers = `
notify:
  receivers:
    - {name: siem, urlFile: /etc/cryptnono/notify/siem.example/url}
notifySecrets: [siem.example]
`

func TestTheFilesOfReceiversComeFromSecrets(t *testing.T) {
	files := render(t, receivers)
	var mount, volume values
	for _, m := range at(container(t, files), "volumeMounts").([]any) {
		if m := m.(values); m["mountPath"] == "/etc/cryptnono/notify/siem.example" {
			mount = m
		}
	}
	for _, v := range pod(t, files)["volumes"].([]any) {
		if v := v.(values); v["name"] == mount["name"] {
			volume = v
		}
	}
	if mount["readOnly"] != true || fmt.Sprint(volume["secret"]) != "map[defaultMode:256 secretName:siem.example]" {
		t.Errorf("mount %v, volume %v", mount, volume)
	}
}

func TestTheAgentCanResolveServicesIfThereAreReceivers(t *testing.T) {
	for settings, want := range map[string]string{"{}": "Default", receivers: "ClusterFirst", receivers + "dnsPolicy: None": "None"} {
		if got := pod(t, render(t, settings))["dnsPolicy"]; got != want {
			t.Errorf("%s: got %v, want %v", settings, got, want)
		}
	}
}

func TestAReceiverThatTheAgentWouldRefuseIsRefused(t *testing.T) {
	for settings, want := range map[string]string{
		"[{url: \"http://a/\"}]": "notify.receivers: one has no name",
		"[{name: a}]":            "notify.receivers: a needs either url or urlFile",
		"[{name: a, url: \"http://a/\", urlFile: /x}]":     "notify.receivers: a needs either url or urlFile",
		"[{name: a, urlFile: /x}, {name: a, urlFile: /y}]": "notify.receivers: two are named a",
		"[{name: a, urlFile: /x, format: xml}]":            "format",
		"[{name: a, url: a.example}]":                      "url",
		"[{name: a, urlFile: /x, token: hunter2}]":         "token",
		"[{name: a, urlFile: /x, timeout: 5}]":             "timeout",
	} {
		_, err := renderTo(t, target{}, parse(t, "notify: {receivers: "+settings+"}"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", settings, err, want)
		}
	}
}
