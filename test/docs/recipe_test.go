package docs

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// The program that stops servers of JupyterHub answers 200 for what is done, so that the agent goes on,
// and else a status after which the agent tries again.
func TestTheProgramForJupyterHubAnswersTheAgent(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CRYPTNONO_REQUIRE_ROOT") == "1" {
			t.Fatal(err)
		}
		t.Skip("no python3")
	}
	_, program, _ := strings.Cut(read(t, "docs/respond.md"), "\n```python\nimport json, os,")
	program, _, _ = strings.Cut(program, "\n```\n")
	var mu sync.Mutex
	var status int
	var asked string
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = r.Method + " " + r.RequestURI + " " + r.Header.Get("Authorization")
		w.WriteHeader(status)
	}))
	defer hub.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	free.Close()
	cmd := exec.Command(python, "-c", "import json, os,"+program)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, time.Second
	cmd.Env = append(os.Environ(), "JUPYTERHUB_API_URL="+hub.URL+"/hub/api", "JUPYTERHUB_API_TOKEN=hub", "CRYPTNONO_TOKEN=agent", "HUB_NAMESPACE=hub", "PORT="+port, "no_proxy=127.0.0.1")
	testutil.Start(t, cmd)
	testutil.Eventually(t, "the program", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	const stops = "DELETE /hub/api/users/ada%40example.com/servers/a%2Fb token hub"
	for _, c := range []struct {
		action, namespace, token string
		hub, want                int
		asks                     string
	}{
		{"killed", "hub", "agent", 204, 200, stops}, // it does not run
		{"killed", "hub", "agent", 202, 200, stops}, // it is being stopped
		{"killed", "hub", "agent", 404, 200, stops}, // there is none
		{"killed", "hub", "agent", 400, 502, stops}, // it is being started, and this hub does not interrupt that
		{"killed", "hub", "agent", 500, 502, stops},
		{"killed", "hub", "agent", 403, 502, stops},
		{"observed", "hub", "agent", 204, 200, ""},
		{"killed", "other", "agent", 204, 200, ""},
		{"killed", "hub", "other", 204, 401, ""},
	} {
		mu.Lock()
		status, asked = c.hub, ""
		mu.Unlock()
		verdict := `{"action":"` + c.action + `","namespace":"` + c.namespace + `","annotations":{"hub.jupyter.org/username":"ada@example.com","hub.jupyter.org/servername":"a/b"}}`
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address, strings.NewReader(verdict))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+c.token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		mu.Lock()
		if response.StatusCode != c.want || asked != c.asks {
			t.Errorf("%+v: answers %d, asks %q", c, response.StatusCode, asked)
		}
		mu.Unlock()
	}
	if t.Failed() {
		testutil.End(cmd)
		t.Log(out.String())
	}
}
