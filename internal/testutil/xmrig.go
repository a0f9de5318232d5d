package testutil

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Xmrig returns a directory in which there is Debian's xmrig, with its libraries, for chroot. It
// downloads the package at first. The test is skipped where that is not possible.
func Xmrig(t testing.TB) string {
	t.Helper()
	Privileged(t)
	if os.Getenv("CRYPTNONO_VICTIMS") != "" {
		t.Skip("no packages are fetched in a guest")
	}
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("needs Debian")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "cryptnono", "xmrig")
	if out, err := exec.Command(filepath.Join(root(t), "scripts/fetch-xmrig"), dir).CombinedOutput(); err != nil {
		t.Fatalf("fetching xmrig: %v\n%s", err, out)
	}
	return filepath.Join(dir, "root")
}

// Pool gives work to miners of the kind of xmrig, for the algorithm that they log in with. It
// listens on loopback until the test ends.
func Pool(t testing.TB) (address string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serveMiner(c)
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// serveMiner answers the login of a miner with a job that is too difficult to be solved.
func serveMiner(c net.Conn) {
	requests, answers := bufio.NewScanner(c), json.NewEncoder(c)
	requests.Buffer(nil, 64<<10)
	for requests.Scan() {
		var q struct {
			ID     int
			Method string
			Params json.RawMessage
		}
		if json.Unmarshal(requests.Bytes(), &q) != nil {
			return
		}
		var result any = true
		var more []any
		switch q.Method {
		case "login":
			var p struct{ Login string } // the name of an algorithm
			_ = json.Unmarshal(q.Params, &p)
			result = map[string]any{"status": "OK", "id": "1", "job": jobFor(p.Login)}
		case "mining.subscribe": // for ghostrider
			result = []any{[]any{[]any{"mining.set_difficulty", "1"}, []any{"mining.notify", "1"}}, "08000002", 4}
		case "mining.authorize":
			zeros := strings.Repeat("00", 32)
			more = []any{
				map[string]any{"id": nil, "method": "mining.set_difficulty", "params": []any{1e6}},
				map[string]any{"id": nil, "method": "mining.notify", "params": []any{"1", zeros, "01", "02", []any{}, "20000000", "1d00ffff", "5f5e1000", true}},
			}
		}
		for _, answer := range append([]any{map[string]any{"id": q.ID, "jsonrpc": "2.0", "error": nil, "result": result}}, more...) {
			if answers.Encode(answer) != nil {
				return
			}
		}
	}
}

// jobFor returns a job of an algorithm: a block's head of 76 bytes, with the version that the
// algorithm needs.
func jobFor(algorithm string) map[string]any {
	version := 16
	switch algorithm {
	case "cn/0":
		version = 1
	case "cn/1":
		version = 7
	case "cn/2":
		version = 9
	case "cn/r":
		version = 12
	}
	blob := fmt.Sprintf("%02x%02xa0b0c0d006%s00000000%s01", version, version, strings.Repeat("00", 32), strings.Repeat("22", 32))
	return map[string]any{
		"algo": algorithm, "blob": blob, "job_id": "1", "target": "01000000", "height": 3_000_000, "seed_hash": strings.Repeat("ab", 32),
	}
}
