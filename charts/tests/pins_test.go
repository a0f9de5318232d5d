package chart

import (
	"fmt"
	"testing"
)

func TestPinsMountTheirFileSystemAndNeverRunTwoAgents(t *testing.T) {
	for _, c := range []struct{ values, path, surge, unavailable string }{
		{"{}", "", "10%", "0"},
		{"pins: /sys/fs/bpf/cryptnono", "/sys/fs/bpf", "0", "10%"},
		{"pins: /run/bpf/own\nupdateStrategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 2}}", "/run/bpf", "0", "2"},
		{"pins: /sys/fs/bpf/cryptnono\nupdateStrategy: {type: OnDelete, rollingUpdate: null}", "/sys/fs/bpf", "<nil>", "<nil>"},
		{"unpin: true", "/sys/fs/bpf", "0", "10%"},
	} {
		files := render(t, c.values)
		var mounted, host any = "", ""
		for _, m := range container(t, files)["volumeMounts"].([]any) {
			if at(m, "name") == "bpffs" {
				mounted = at(m, "mountPath")
			}
		}
		for _, v := range at(pod(t, files), "volumes").([]any) {
			if at(v, "name") == "bpffs" {
				host = at(v, "hostPath", "path")
			}
		}
		if mounted != c.path || host != c.path {
			t.Errorf("%s: %v of the host is mounted at %v, want %q", c.values, host, mounted, c.path)
		}
		s := at(daemonSet(t, files), "spec", "updateStrategy")
		surge, unavailable := fmt.Sprint(at(s, "rollingUpdate", "maxSurge")), fmt.Sprint(at(s, "rollingUpdate", "maxUnavailable"))
		if surge != c.surge || unavailable != c.unavailable {
			t.Errorf("%s: maxSurge %s, maxUnavailable %s", c.values, surge, unavailable)
		}
	}
}
