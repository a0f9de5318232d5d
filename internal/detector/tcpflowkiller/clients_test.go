package tcpflowkiller

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// webServer serves HTTPS at an address, and returns a function that returns the number of
// requests.
func webServer(t *testing.T, address string) func() int {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"www.minexmr.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("needs %s: %v", address, err)
	}
	requests := make(chan struct{}, 100)
	s := &http.Server{
		ReadHeaderTimeout: time.Minute,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests <- struct{}{}
			fmt.Fprintln(w, "hashrate")
		}),
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.ServeTLS(l, "", "") })
	t.Cleanup(func() {
		_ = s.Close()
		serving.Wait()
	})
	return func() int { return len(requests) }
}

// The web site of a pool is read by people, also from a notebook in a container.
func TestWebClientsAtThePageOfAPoolLive(t *testing.T) {
	testutil.Privileged(t)
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("needs unshare")
	}
	const address = "127.77.0.44"
	requests := webServer(t, address+":443")
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte(address+" www.minexmr.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBed(t, bedOptions{cgroup: podCgroup})
	b.classify()
	tried := 0
	for _, client := range [][]string{
		{"curl", "-sk", "https://www.minexmr.com/"},
		{"curl", "-sk", "--no-alpn", "https://www.minexmr.com/"},
		{"wget", "-q", "--no-check-certificate", "-O", "-", "https://www.minexmr.com/"},
		{"python3", "-c", "import ssl,urllib.request as u; u.urlopen('https://www.minexmr.com/', context=ssl._create_unverified_context()).read()"},
		{"python3", "-c", "import requests; requests.get('https://www.minexmr.com/', verify=False)"},
		{"chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + t.TempDir(), "--ignore-certificate-errors",
			"--no-proxy-server", "--dump-dom", "https://www.minexmr.com/"},
		{"node", "-e", "process.env.NODE_TLS_REJECT_UNAUTHORIZED='0'; require('https').get('https://www.minexmr.com/', r => r.resume())"},
		{"git", "-c", "http.sslVerify=false", "ls-remote", "https://www.minexmr.com/x"},
		{"openssl", "s_client", "-connect", "www.minexmr.com:443", "-servername", "www.minexmr.com"},
	} {
		if _, err := exec.LookPath(client[0]); err != nil {
			t.Logf("%s: not installed", client[0])
			continue
		}
		tried++
		before := requests()
		cmd := exec.Command(unshare, append([]string{"-m", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, hosts}, client...)...)
		out, err := os.Create(hosts + ".out")
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = out
		cmd.Env = append(os.Environ(), "https_proxy=", "HTTPS_PROXY=", "GIT_TERMINAL_PROMPT=0")
		cmd.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n")
		if signal, _ := ended(b.run(cmd)); signal != 0 {
			t.Errorf("%s: killed by %v", client, signal)
		}
		if client[0] != "openssl" && requests() == before {
			text, _ := os.ReadFile(out.Name())
			t.Errorf("%s: no request arrives: %.1000s", client, text)
		}
		_ = out.Close()
	}
	if tried < 2 {
		t.Skip("needs clients")
	}
	for _, action := range []string{`"action":"killed"`, `"action":"refused"`} {
		if strings.Contains(b.log.String(), action) {
			t.Error(action)
		}
	}
}

// At the root cgroup, where a fault would cut the machine's own network: the test detaches after
// a minute.
func TestAtTheRootCgroup(t *testing.T) {
	testutil.Privileged(t)
	root, err := openRoot()
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t, bedOptions{root: root})
	detach := time.AfterFunc(time.Minute, func() {
		for _, l := range b.d.links {
			_ = l.Close()
		}
	})
	defer detach.Stop()
	s := newSink(t, "tcp4", "127.0.0.1:0")
	miner, _ := b.start(order{Address: s.Addr().String(), Sends: sends(login), Stay: testutil.Patience(5 * time.Second)})
	if signal, _ := ended(miner); signal != syscall.SIGKILL || s.text() != "" {
		t.Errorf("a miner: killed by %v, %q arrives", signal, s.text())
	}
	client, _ := b.start(order{Address: s.Addr().String(), Sends: sends(electrum)})
	if signal, status := ended(client); signal != 0 || status != exitDone {
		t.Errorf("a client: killed by %v, status %d", signal, status)
	}
	testutil.Eventually(t, "its words", func() bool { return s.text() == electrum })
}

// While the agent is stopped, exactly the banned connections are refused.
func TestAStormWithoutTheAgent(t *testing.T) {
	b := newBed(t, bedOptions{lists: lists{addresses: prefixes("127.9.9.0/24")}, stopped: true})
	s := newSink(t, "tcp4", "0.0.0.0:0")
	_, port, _ := net.SplitHostPort(s.Addr().String())
	n := testutil.Rounds(t, 20_000)
	cmd, out := b.start(order{Storm: n, Address: port})
	if signal, status := ended(cmd); signal != 0 || status != 0 {
		t.Fatalf("killed by %v, status %d: %s", signal, status, out)
	}
	if want := fmt.Sprintf("%d refused, %d connected\n", n/2, n-n/2); out.String() != want {
		t.Errorf("%q, want %q", out, want)
	}
	f, err := b.d.fates()
	if err != nil {
		t.Fatal(err)
	}
	if got := f[bpfReasonBECAUSE_ADDRESS][bpfFateFATE_REFUSED]; got != uint64(n/2) {
		t.Errorf("%d counted", got)
	}
}
