package runtimes

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A dockerd is a client of a dockerd's API.
type dockerd struct {
	t      *testing.T
	client *http.Client
}

func connectDocker(t *testing.T, path string) *dockerd {
	t.Helper()
	d := &dockerd{t, &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}}}
	testutil.Eventually(t, "the Docker daemon", func() bool {
		response, err := d.client.Get("http://docker/_ping")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return d
}

// do sends a request with a body of bytes or JSON, and decodes the response into answer if
// that is not nil.
func (d *dockerd) do(method, path string, body, answer any) {
	d.t.Helper()
	content, ok := body.([]byte)
	if !ok {
		var err error
		if content, err = json.Marshal(body); err != nil {
			d.t.Fatal(err)
		}
	}
	request, err := http.NewRequestWithContext(d.t.Context(), method, "http://docker"+path, bytes.NewReader(content))
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := d.client.Do(request)
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		d.t.Fatalf("%s %s: %s, %v\n%s", method, path, response.Status, err, text)
	}
	if answer != nil {
		if err := json.Unmarshal(text, answer); err != nil {
			d.t.Fatalf("%s: %v", text, err)
		}
	}
}

// importImage creates an image with /idle.
func (d *dockerd) importImage(name string) {
	d.t.Helper()
	repo, tag, _ := strings.Cut(name, ":")
	d.do(http.MethodPost, "/images/create?fromSrc=-&repo="+repo+"&tag="+tag, rootfs(d.t), nil)
}

// create creates a container that runs /idle, and returns its id.
func (d *dockerd) create(name, image, argument string, labels map[string]string) string {
	d.t.Helper()
	var answer struct{ ID string }
	d.do(http.MethodPost, "/containers/create?name="+name, map[string]any{
		"Image": image, "Entrypoint": []string{"/idle"}, "Cmd": []string{argument}, "Labels": labels,
		"HostConfig": map[string]any{"NetworkMode": "host"},
	}, &answer)
	return answer.ID
}

// dockerArgs returns the command line of a dockerd that does not change the network and
// keeps its files in a directory.
func dockerArgs(dir string) []string {
	return []string{"dockerd", "--log-level=warn",
		"--host=unix://" + dir + "/docker.sock", "--data-root=" + dir + "/docker",
		"--exec-root=" + dir + "/docker-run", "--pidfile=" + dir + "/docker.pid",
		"--storage-driver=vfs", // works on any file system
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
	}
}
