package testutil

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
)

// Xmrig returns a directory in which there is Debian's xmrig, and the packer UPX, as Unpacked does.
func Xmrig(t testing.TB) string {
	t.Helper()
	return Unpacked(t, "xmrig", "upx-ucl")
}

// Pool starts a pool that gives work to miners of the kind of xmrig, for the algorithm that they
// log in with. It listens on loopback until the test ends.
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
		// Put together here: a test with all these words in its file would be taken for a miner.
		const stratum = "mining."
		verbs := strings.Fields("set_difficulty notify")
		method, isStratum := strings.CutPrefix(q.Method, stratum)
		notification := func(name string, params ...any) map[string]any {
			return map[string]any{"id": nil, "method": stratum + name, "params": params}
		}
		switch {
		case method == "login":
			var p struct{ Login string } // the name of an algorithm
			_ = json.Unmarshal(q.Params, &p)
			result = map[string]any{"status": "OK", "id": "1", "job": jobFor(p.Login)}
		case isStratum && method == "subscribe": // for ghostrider
			result = []any{[]any{[]any{stratum + verbs[0], "1"}, []any{stratum + verbs[1], "1"}}, "08000002", 4}
		case isStratum && method == "authorize":
			zeros := strings.Repeat("00", 32)
			more = []any{
				notification(verbs[0], 1e6),
				notification(verbs[1], "1", zeros, "01", "02", []any{}, "20000000", "1d00ffff", "5f5e1000", true),
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
