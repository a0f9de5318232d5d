package testutil

import (
	"crypto/tls"
	"net"
	"testing"
)

// ClientHello returns the first bytes of a TLS client that asks for a server, with ALPN for these
// protocols.
func ClientHello(t testing.TB, server string, protocols ...string) string {
	t.Helper()
	client, peer := net.Pipe()
	defer client.Close()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: server, NextProtos: protocols, InsecureSkipVerify: true}).Handshake()
	}()
	b := make([]byte, 16<<10)
	n, err := peer.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	_ = peer.Close()
	return string(b[:n])
}
