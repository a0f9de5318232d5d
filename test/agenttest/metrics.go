package agenttest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Get sends an HTTP request and returns the response, or an error if there is none within the
// time limit.
func (a *Agent) Get(path string, patience time.Duration) (status int, body string, err error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	r, err := client.Get(a.URL + path)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return r.StatusCode, string(text), err
}

// Metrics returns the values of the metrics page by series. The prefix "cryptnono_execwhacker_"
// of names is removed.
func (a *Agent) Metrics(t *testing.T) map[string]float64 {
	t.Helper()
	_, page, err := a.Get("/metrics", Patience())
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for l := range strings.Lines(page) {
		l = strings.TrimPrefix(strings.TrimSuffix(l, "\n"), "cryptnono_execwhacker_")
		space := strings.LastIndexByte(l, ' ')
		if value, err := strconv.ParseFloat(l[space+1:], 64); err == nil && l[0] != '#' {
			values[l[:space]] = value
		}
	}
	return values
}
