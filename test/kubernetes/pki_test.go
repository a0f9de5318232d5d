package kubernetes

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An authority signs the certificates of a cluster, and writes them into its
// directory.
type authority struct {
	dir    string
	key    *ecdsa.PrivateKey
	cert   *x509.Certificate
	serial int64
}

func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	a := &authority{dir: dir}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "test authority"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	a.key, a.cert = a.make(t, "ca", template, nil, nil)
	return a
}

// sign writes NAME.key and NAME.crt, for a server with these names and addresses, and
// a client of that subject.
func (a *authority) sign(t *testing.T, name string, subject pkix.Name, hosts ...string) {
	t.Helper()
	template := &x509.Certificate{
		Subject:     subject,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	a.make(t, name, template, a.cert, a.key)
}

func (a *authority) make(t *testing.T, name string, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key := a.writeKey(t, name)
	if signer == nil {
		parent, signer = template, key
	}
	a.serial++
	template.SerialNumber = big.NewInt(a.serial)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(a.dir, name+".crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return key, cert
}

// writeKey writes a new key as NAME.key.
func (a *authority) writeKey(t *testing.T, name string) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(a.dir, name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
	return key
}

// users gives each user a token and a kubeconfig, USER.kubeconfig by the first part
// of its name, and writes the list of tokens. A group may follow after a space.
func (a *authority) users(t *testing.T, server string, users map[string]string) {
	t.Helper()
	var tokens strings.Builder
	for file, user := range users {
		name, group, _ := strings.Cut(user, " ")
		token := rand.Text()
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", token, name, name, group)
		write(t, filepath.Join(a.dir, file+".kubeconfig"), fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
clusters: [{name: test, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: test, user: {token: %q}}]
`, server, filepath.Join(a.dir, "ca.crt"), token))
	}
	write(t, filepath.Join(a.dir, "tokens.csv"), tokens.String())
}
