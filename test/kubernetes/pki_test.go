package kubernetes

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A pki is a certificate authority and the keys that a cluster needs, as files in a
// directory.
type pki struct {
	dir  string
	ca   *x509.Certificate
	key  crypto.Signer
	next int64 // serial number
}

// newPKI makes NAME.crt and NAME.key for all that serve or are asked, and sa.key,
// sa.pub for the tokens of service accounts.
func newPKI(dir string) (*pki, error) {
	p := &pki{dir: dir}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	p.key = key
	p.ca = p.template(pkix.Name{CommonName: "test-ca"})
	p.ca.IsCA, p.ca.BasicConstraintsValid, p.ca.KeyUsage = true, true, x509.KeyUsageCertSign
	if err := p.sign("ca", p.ca, key); err != nil {
		return nil, err
	}
	for name, subject := range map[string]pkix.Name{
		"apiserver":      {CommonName: "kube-apiserver"},
		"kubelet":        {CommonName: nodeName},
		"kubelet-client": {CommonName: "apiserver-kubelet-client", Organization: []string{"system:masters"}},
	} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		c := p.template(subject)
		c.DNSNames = []string{"localhost", nodeName, "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
		c.IPAddresses = []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP(nodeIP), net.ParseIP(apiIP)}
		if err := p.sign(name, c, key); err != nil {
			return nil, err
		}
	}
	return p, p.serviceAccounts()
}

func (p *pki) template(subject pkix.Name) *x509.Certificate {
	p.next++
	return &x509.Certificate{
		SerialNumber: big.NewInt(p.next), Subject: subject,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// sign writes a certificate of the authority, and its key.
func (p *pki) sign(name string, c *x509.Certificate, key crypto.Signer) error {
	cert, err := x509.CreateCertificate(rand.Reader, c, p.ca, key.Public(), p.key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := p.write(name+".crt", "CERTIFICATE", cert); err != nil {
		return err
	}
	return p.write(name+".key", "PRIVATE KEY", private)
}

func (p *pki) serviceAccounts() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := p.write("sa.key", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)); err != nil {
		return err
	}
	return p.write("sa.pub", "PUBLIC KEY", public)
}

func (p *pki) write(name, kind string, der []byte) error {
	return os.WriteFile(filepath.Join(p.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
