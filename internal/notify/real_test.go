package notify

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// Debian's Alertmanager receives an alert, keeps one for many verdicts, and tells another server.
func TestAlertmanagerReceivesAlerts(t *testing.T) {
	root := testutil.Unpacked(t, "prometheus-alertmanager")
	dir, inside := testutil.UnpackedDir(t, root)
	webhook := serve(t)
	writeFile(t, filepath.Join(dir, "config.yml"), `
route:
  receiver: hook
  group_by: [namespace, pod]
  group_wait: 0s
receivers:
  - name: hook
    webhook_configs: [{url: "`+webhook.URL+`/"}]
`)
	address := freeAddress(t)
	cmd := exec.Command("/usr/bin/prometheus-alertmanager", "--config.file="+inside+"/config.yml", "--storage.path="+inside, "--web.listen-address="+address, "--cluster.listen-address=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Pdeathsig: syscall.SIGKILL}
	if testing.Verbose() {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()

	n := New("1")
	r := receiver("alertmanager", "http://"+address+"/api/v2/alerts")
	r.Format, r.Each = Alertmanager, true
	n.Apply([]Receiver{r}, quiet())
	now := strings.Replace(killed, "2026-11-27T19:00:00.123456789Z", time.Now().Format(time.RFC3339Nano), 1)
	for range 3 { // the first attempts are before it listens
		write(t, n, now)
	}
	write(t, n, strings.Replace(now, `"action":"killed"`, `"action":"observed"`, 1))
	testutil.Eventually(t, "the alerts", func() bool { return total(t, n, "cryptnono_notifications_sent_total")["alertmanager"] == 4 })
	n.Close(0)
	var alerts []struct{ Labels, Annotations map[string]string }
	testutil.Eventually(t, "both alerts", func() bool {
		response, err := http.Get("http://" + address + "/api/v2/alerts")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		defer http.DefaultClient.CloseIdleConnections()
		return json.NewDecoder(response.Body).Decode(&alerts) == nil && len(alerts) == 2
	})
	for _, a := range alerts {
		if a.Labels["pod"] != "jupyter-ada" || a.Annotations["annotation_hub_jupyter_org_username"] != "ada@example.com" {
			t.Errorf("got %v", a)
		}
	}
	testutil.Eventually(t, "the message of Alertmanager", func() bool {
		return strings.Contains(strings.Join(webhook.got(), "\n"), "cryptnono killed a process in hub/jupyter-ada on node 1, of user ada@example.com")
	})
}

// freeAddress returns an address of the loopback on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
