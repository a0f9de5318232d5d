package notify

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/strict"
)

const (
	// maxFileBytes is the size of the largest file of a receiver.
	maxFileBytes = 1 << 20
	// maxResponseBytes of a response are read, so that the connection can be used again, and
	// maxErrorBytes are in the log.
	maxResponseBytes, maxErrorBytes = 64 << 10, 200
)

// A client sends requests to a receiver. It reads the receiver's files for each request, so
// that they can change. Its errors have no header, of an URL only the host, and of a file only its
// name without the directory: the rest may be secret. It is not safe for concurrent use.
type client struct {
	receiver  Receiver
	agent     string // for the header User-Agent
	transport *http.Transport
	ca        []byte // in transport
}

func newClient(r Receiver, version string) *client {
	return &client{receiver: r, agent: "cryptnono/" + version, transport: newTransport(nil)}
}

// newTransport returns a transport with HTTP/1.1: a connection of HTTP/2 that hangs would be
// used again.
func newTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		MaxResponseHeaderBytes: maxResponseBytes,
		IdleConnTimeout:        time.Minute,
	}
}

// A statusError is a response other than 2xx.
type statusError struct {
	status     int
	text       string        // of the response, printable
	retryAfter time.Duration // 0 if the response does not say it
}

func (e *statusError) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("response status %d %s: %s", e.status, http.StatusText(e.status), e.text), ": ")
}

// final reports whether err says that the receiver will never accept the message. All other
// errors can end: a server is started, or a secret is replaced.
func final(err error) bool {
	s, ok := errors.AsType[*statusError](err)
	return ok && (s.status == http.StatusBadRequest || s.status == http.StatusRequestEntityTooLarge || s.status == http.StatusUnprocessableEntity)
}

// send sends a message once, within the receiver's timeout.
func (c *client) send(ctx context.Context, m *message) error {
	ctx, cancel := context.WithTimeout(ctx, c.receiver.Timeout)
	defer cancel()
	request, hidden, err := c.request(ctx, m)
	if err != nil {
		return err
	}
	client := http.Client{Transport: c.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return hidden.hide(withoutURL(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponseBytes))
	if response.StatusCode/100 != 2 {
		text := printable.Text(bytes.TrimSpace(body), maxErrorBytes)
		if hidden.in(string(body)) {
			text = "(its text is left out: it contains a part of the URL or a header)"
		}
		seconds, _ := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 16)
		return &statusError{response.StatusCode, text, time.Duration(seconds) * time.Second}
	}
	return hidden.hide(withoutURL(err))
}

// request returns the request for a message, with the current content of the files, and what of
// it no error may contain.
func (c *client) request(ctx context.Context, m *message) (*http.Request, secrets, error) {
	address, err := c.address()
	if err != nil {
		return nil, nil, err
	}
	if err := c.readCA(); err != nil {
		return nil, nil, err
	}
	body, contentType, err := m.encode(c.receiver.Format)
	if err != nil {
		return nil, nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, nil, errURL
	}
	hidden := secretsOf(request.URL)
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("User-Agent", c.agent)
	err = c.setHeaders(request.Header, &hidden)
	return request, hidden, err
}

// address returns the URL.
func (c *client) address() (string, error) {
	if c.receiver.URLFile == "" {
		return c.receiver.URL, nil
	}
	text, err := readFile(c.receiver.URLFile)
	if err != nil {
		return "", err
	}
	address := strings.TrimSpace(string(text))
	if err := checkURL(address); err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Base(c.receiver.URLFile), err)
	}
	return address, nil
}

// setHeaders sets the headers in the receiver's file, which can replace others, and adds their
// values to hidden.
func (c *client) setHeaders(h http.Header, hidden *secrets) error {
	if c.receiver.HeadersFile == "" {
		return nil
	}
	text, err := readFile(c.receiver.HeadersFile)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxFileBytes)
	for n := 1; lines.Scan(); n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		name, value, ok := strings.Cut(lines.Text(), ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok || !httpguts.ValidHeaderFieldName(name):
			return fmt.Errorf("%s:%d: want NAME: VALUE", filepath.Base(c.receiver.HeadersFile), n)
		case !httpguts.ValidHeaderFieldValue(value):
			return fmt.Errorf("%s:%d: the value has a control character", filepath.Base(c.receiver.HeadersFile), n)
		}
		h.Set(name, value)
		hidden.add(value)
	}
	return lines.Err()
}

// readCA makes a new transport if the certificates have changed.
func (c *client) readCA() error {
	if c.receiver.CAFile == "" {
		return nil
	}
	text, err := readFile(c.receiver.CAFile)
	if err != nil || bytes.Equal(text, c.ca) {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return fmt.Errorf("%s: no PEM certificate", filepath.Base(c.receiver.CAFile))
	}
	c.close()
	c.transport, c.ca = newTransport(roots), text
	return nil
}

// close closes the connections, also so that the next request opens a new one.
func (c *client) close() { c.transport.CloseIdleConnections() }

// readFile reads a file. Its errors do not have the directory, which can be named after a Secret.
func readFile(file string) (text []byte, err error) {
	defer func() {
		if err != nil {
			err = errors.New(strings.ReplaceAll(err.Error(), file, filepath.Base(file)))
		}
	}()
	f, _, err := strict.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err = io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(text) > maxFileBytes {
		err = fmt.Errorf("%s: larger than 1 MiB", file)
	}
	return text, err
}

var errURL = errors.New("the URL is not valid: its port is not a number, or a character is not written as %HH")

// checkURL returns an error if text is not the URL of a receiver. The error does not have it.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return errURL
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("the URL does not begin with http://HOST or https://HOST")
	}
	return nil
}

// withoutURL returns the cause of an error that has an URL.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
