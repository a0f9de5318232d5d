package notify

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func writeFile(t *testing.T, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSecretsAreReadFromFilesForEachRequest(t *testing.T) {
	var got *http.Request
	s := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	defer s.Close()
	dir := t.TempDir()
	dir = filepath.Join(dir, "hunter2-secret") // the name of a Secret
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r := Usual()
	r.Name, r.URLFile, r.HeadersFile, r.CAFile = "one", "url", "headers", "ca"
	r = r.In(dir)
	c := newClient(r, "1.2")
	defer c.close()
	send := func(want string) {
		t.Helper()
		got = nil
		m := &message{line: parsed(t, killed)}
		err := c.send(t.Context(), m)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("got %v, want %q", err, want)
		case err != nil && (got != nil || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("sent %v, %v", got != nil, err)
		}
	}
	send("url: no such file")
	writeFile(t, r.URLFile, s.URL+"/hunter2?a=b\n")
	send("ca: no such file")
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	writeFile(t, r.CAFile, "hunter2")
	send("ca: no PEM certificate")
	writeFile(t, r.CAFile, ca)
	send("headers: no such file")
	writeFile(t, r.HeadersFile, "Authorization: Bearer hunter2:x\n\nX-Y:z\nhunter2")
	send("headers:4: want NAME: VALUE")
	writeFile(t, r.HeadersFile, "X-Y: z\nAuthorization Bearer hunter2:x")
	send("headers:2: want NAME: VALUE")
	writeFile(t, r.HeadersFile, "X-Y: hunter2\x01")
	send("headers:1: the value has a control character")
	writeFile(t, r.HeadersFile, "Authorization: Bearer hunter2:x\n\nX-Y:z\ncontent-type: text/x\n")
	send("")
	if got.URL.String() != "/hunter2?a=b" || got.Header.Get("Authorization") != "Bearer hunter2:x" || got.Header.Get("X-Y") != "z" ||
		got.Header.Get("Content-Type") != "text/x" || got.Header.Get("User-Agent") != "cryptnono/1.2" {
		t.Errorf("got %s %v", got.URL, got.Header)
	}
	for _, bad := range []string{"https://user:hunter2@%zz/", "https://user:hunter2/x@receiver.example", "https://receiver.example/\x7fhunter2"} {
		writeFile(t, r.URLFile, bad)
		send("url: the URL is not valid")
	}
	writeFile(t, r.URLFile, "ftp://hunter2/")
	send("url: the URL does not begin with http")
	writeFile(t, r.URLFile, strings.Repeat("x", maxFileBytes+1))
	send("url: larger than 1 MiB")
	if err := os.Remove(r.CAFile); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.CAFile, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, r.URLFile, s.URL)
	send("ca: not a regular file")
	r.CAFile = ""
	c.receiver = r
	writeFile(t, r.URLFile, "https://hunter2.invalid/hunter2")
	if err := c.send(t.Context(), &message{line: parsed(t, killed)}); err == nil || strings.Contains(err.Error(), "/hunter2") {
		t.Errorf("got %v", err)
	}
}

// A receiver answers with what it was sent, as Express does, in part or with other escapes.
func TestWhatAReceiverReturnsIsNotInTheError(t *testing.T) {
	const path, query = "/services/T0/B0/hunter2TOKEN", "key=hunter2KEY&x=y/z"
	const left = "response status 404 Not Found: (its text is left out: it contains a part of the URL or a header)"
	for name, c := range map[string]struct{ text, want string }{
		"none":                  {"no such alert", "response status 404 Not Found: no such alert"},
		"the path":              {"Cannot POST " + path, left},
		"escaped as JSON":       {`{"error":"Cannot POST ` + strings.ReplaceAll(path, "/", `\/`) + `"}`, left},
		"a part":                {"unknown hunter2TOKEN", left},
		"in other letters":      {"UNKNOWN HUNTER2TOKEN", left},
		"the query":             {"bad " + query, left},
		"escaped as HTML":       {"bad key=hunter2KEY&amp;x=y", left},
		"escaped in a URL":      {"bad key%3Dhunter2KEY%26x", left},
		"a header":              {"bad: Bearer hunter2BEARER", left},
		"a part of a header":    {"bad token 'hunter2BEARER'", left},
		"the user":              {"unknown user hunter2USER", left},
		"the password":          {"bad password hunter2:PASS", left},
		"cut at the end":        {strings.Repeat("x", maxErrorBytes-10) + "hunter2BEARER", left},
		"a header of the agent": {"application/json is not wanted", "response status 404 Not Found: application/json is not wanted"},
		"in no HTTP":            {"", "the error is left out: it contains a part of the URL or a header"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c.text != "" {
				http.Error(w, c.text, http.StatusNotFound)
				return
			}
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, r.Method+" "+r.RequestURI+" HTTP/1.1\r\n")
		}))
		r := receiver("one", strings.Replace(s.URL, "//", "//hunter2USER:hunter2%3APASS@", 1)+path+"?"+query)
		r.HeadersFile = writeFile(t, filepath.Join(t.TempDir(), "headers"), "Authorization: Bearer hunter2BEARER\nX-Scope-OrgID: 1\n")
		if err := Test(t.Context(), r, "1", "node-1"); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v", name, err)
		}
		s.Close()
	}
}

func TestACertificateOfAnotherAuthorityIsRefused(t *testing.T) {
	reached := false
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	r := Usual()
	r.Name, r.URL = "one", s.URL
	c := newClient(r, "")
	defer c.close()
	if err := c.send(t.Context(), &message{line: parsed(t, killed)}); err == nil || !strings.Contains(err.Error(), "certificate") || reached {
		t.Errorf("got %v", err)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	var paths []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer s.Close()
	r := Usual()
	r.Name, r.URL = "one", s.URL
	c := newClient(r, "")
	defer c.close()
	err := c.send(t.Context(), &message{line: parsed(t, killed)})
	if status, ok := err.(*statusError); !ok || status.status != http.StatusTemporaryRedirect || len(paths) != 1 { //nolint:errorlint // not wrapped
		t.Errorf("got %v, %v", err, paths)
	}
}

func TestALongAnswerIsBounded(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	r := Usual()
	r.Name, r.URL = "one", s.URL
	c := newClient(r, "")
	defer c.close()
	began := time.Now()
	err := c.send(t.Context(), &message{line: parsed(t, killed)})
	if err == nil || len(err.Error()) > 2*maxErrorBytes || time.Since(began) > r.Timeout {
		t.Errorf("after %v got %v", time.Since(began), err)
	}
}

func TestTheTestMessageIsSent(t *testing.T) {
	for _, f := range []Format{JSON, CloudEvents, Falcosidekick, Alertmanager} {
		s := serve(t)
		r := receiver("one", s.URL)
		r.Format = f
		if err := Test(t.Context(), r, "1", "node-1"); err != nil {
			t.Error(err)
		}
		if got := s.got(); len(got) != 1 || !strings.Contains(got[0], "a test of the notifications") || !strings.Contains(got[0], "node-1") {
			t.Errorf("%s: got %q", f, got)
		}
	}
	if err := Test(t.Context(), receiver("one", "http://127.0.0.1:1/"), "1", "node-1"); err == nil {
		t.Error("no error")
	}
}

func TestSettings(t *testing.T) {
	ok := receiver("a", "http://a.example/")
	for name, c := range map[string]struct {
		change func(*Receiver)
		want   string
	}{
		"none":        {func(*Receiver) {}, ""},
		"no name":     {func(r *Receiver) { r.Name = "" }, "name: no name"},
		"no URL":      {func(r *Receiver) { r.URL = "" }, "give it either url or urlFile"},
		"two URLs":    {func(r *Receiver) { r.URLFile = "x" }, "give it either url or urlFile"},
		"a bad name":  {func(r *Receiver) { r.Name = "A b" }, `name: "A b" is not a name of up to 63 small letters, digits and -`},
		"a bad URL":   {func(r *Receiver) { r.URL = "a.example" }, "url: the URL does not begin with http://HOST or https://HOST"},
		"no port":     {func(r *Receiver) { r.URL = "http://user:hun/ter2@a.example/" }, "url: the URL is not valid: its port is not a number, or a character is not written as %HH"},
		"no host":     {func(r *Receiver) { r.URL = "http:///x" }, "url: the URL does not begin with http://HOST or https://HOST"},
		"an action":   {func(r *Receiver) { r.Actions = []string{"kill"} }, `actions[0]: "kill" is not one of [busy kill-failed killed missed-kill observed refused spared]`},
		"a format":    {func(r *Receiver) { r.Format = "xml" }, `format: "xml" is not one of json, cloudevents, falcosidekick, alertmanager`},
		"no timeout":  {func(r *Receiver) { r.Timeout = 0 }, "timeout: 0 is not from 100ms to 1m"},
		"only a file": {func(r *Receiver) { r.URL, r.URLFile = "", "x" }, ""},
	} {
		r := ok
		c.change(&r)
		err := r.Table().Validate()
		if err == nil {
			err = r.Check()
		}
		if got := ""; err != nil && err.Error() != c.want || err == nil && got != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	if err := CheckNames([]Receiver{ok, receiver("b", ""), ok}); err == nil || err.Error() != `two receivers are named "a"` {
		t.Errorf("got %v", err)
	}
	r := Receiver{URLFile: "a", HeadersFile: "/b"}.In("/etc")
	if r.URLFile != filepath.Join("/etc", "a") || r.HeadersFile != "/b" || r.CAFile != "" {
		t.Errorf("got %+v", r)
	}
}
