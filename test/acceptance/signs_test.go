package acceptance

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// A beside is a program that computes beside something else, in a container of its own or on the
// host.
type beside struct {
	name   string
	script string // for bash; the last process computes, with the pid of the shell
	onHost bool
	with   string // that the line of its kill names, "" if it must live
	signs  string // if it must live: the detectors that observe one of its processes
}

const (
	signsPool = "minexmr.com"
	// signsDNS is an address at which DNS is asked. Nobody has to answer.
	signsDNS = "127.77.0.53"
	// wasmScript computes in WebAssembly, in short calls, after setUp.
	wasmScript = `%s
const {memory, compute} = new WebAssembly.Instance(new WebAssembly.Module(require("fs").readFileSync(process.argv[1]))).exports;
const words = new Uint32Array(memory.buffer);
for (let i = 0, x = 1; i < words.length; i++) words[i] = x = Math.imul(x, 0x9e3779b1) + i;
setInterval(() => compute(1 << 18))`
)

// besides returns them. $walk and $modes are victims, $wasm is a module, $other is a port of a TLS
// server, $silent is one that answers nothing, and $hello and $socks are escaped first bytes.
func besides() []beside {
	node := func(setUp string) string {
		return "exec node -e '" + fmt.Sprintf(wasmScript, setUp) + "' $wasm"
	}
	return []beside{
		// What dies.
		{name: "TLS to a pool at port 443", onHost: true, script: `exec 3<>/dev/tcp/127.0.0.1/$silent; printf "$socks$hello" >&3; exec $walk soft`,
			with: "tcpflowkiller: TLS to " + signsPool},
		{name: "a connection that is refused outside of containers", onHost: true, script: `exec 3<>/dev/tcp/127.0.0.1/$other; printf "$hello" >&3; exec $walk soft`,
			with: "tcpflowkiller: refused " + signsPool},
		{name: "a pool in the arguments", script: `exec $walk soft 1 ` + signsPool, with: "execwhacker: " + signsPool},
		{name: "WebAssembly that asks for a pool", script: node(`const {Resolver} = require("dns"), r = new Resolver(); r.setServers(["` + signsDNS + `"]); r.resolve4(process.env.pool, () => {});`),
			with: "tcpflowkiller: question for " + signsPool},
		{name: "a question of another process, later", script: `(sleep 6; exec 3<>/dev/udp/` + signsDNS + `/53; printf "$question" >&3) & exec $walk soft`,
			with: "tcpflowkiller: question for " + signsPool},

		{name: "rounding at random, and TLS to a pool at port 443", onHost: true, script: `exec 3<>/dev/tcp/127.0.0.1/$silent; printf "$socks$hello" >&3; exec $modes nduz 0 random`,
			with: "tcpflowkiller: TLS to " + signsPool},

		// What lives.
		{name: "a look at a pool's certificate", script: `sleep 1000 | openssl s_client -connect 127.77.0.1:443 -servername ` + signsPool + ` >/dev/null & exec openssl speed -seconds 100 -evp sha256`,
			signs: "execwhacker tcpflowkiller"},
		{name: "a build that fetches a pool's page", script: `curl -s -k --connect-to ` + signsPool + `:443:127.77.0.1:443 https://` + signsPool + `/ >/dev/null; exec openssl speed -seconds 100 -evp sha256`,
			signs: "execwhacker"},
		{name: "a table in memory, and TLS to its database", script: `sleep 1000 | openssl s_client -connect 127.0.0.1:$other -servername db.example.org >/dev/null & exec $walk table`,
			signs: "hashwork"},
		{name: "a table in memory, and metrics at port 3333", script: `while curl -s -d 'jobs 1' http://127.77.0.1:3333/metrics/job/a; do sleep 0.5; done >/dev/null & exec $walk table`,
			signs: "hashwork"},
		{name: "a table in memory, and a service that asks for what its users name", script: `node -e 'require("net").createServer().listen(0, () => {
			const {Resolver} = require("dns"), r = new Resolver(); r.setServers(["` + signsDNS + `"]); r.resolve4(process.env.pool, () => {}) })' & exec $walk table`, signs: "hashwork"},
		{name: "a table in memory, and another process outside of containers that asks for a pool", onHost: true, script: `busybox nslookup ` + signsPool + ` ` + signsDNS + ` >/dev/null & exec $walk table`,
			signs: "execwhacker hashwork"},
		{name: "a table in memory, and rounding at random", script: `$modes nduz 0 random & exec $walk table`, signs: "hashwork monero"},
		{name: "rounding at random, and TLS to its database", script: `sleep 1000 | openssl s_client -connect 127.0.0.1:$other -servername db.example.org >/dev/null & exec $modes nduz 0 random`,
			signs: "monero"},
		{name: "WebAssembly, and TLS to its server", script: node(`process.env.NODE_TLS_REJECT_UNAUTHORIZED = 0; require("tls").connect({host: "127.0.0.1", port: process.env.other, servername: "api.example.org"});`),
			signs: "hashwork"},
		{name: "a login server that hashes with argon2, and TLS to its database", script: `sleep 1000 | openssl s_client -connect 127.0.0.1:$other -servername db.example.org >/dev/null &
			cd $unpacked; exec chroot . sh -c 'while :; do echo password | argon2 saltsaltsalt -id -t 200 -m 12 -p 1; done' >/dev/null`},
		{name: "a backup that hashes, and TLS to its server", script: `while curl -s -k https://127.0.0.1:$other/ >/dev/null; do sleep 0.5; done & cd $unpacked
			exec chroot . sh -c 'export RESTIC_PASSWORD=x; while :; do rm -rf $0/r; restic -q -r $0/r init; restic -q -r $0/r --no-cache backup /usr/bin; done' $inside >/dev/null`},
	}
}

// What is only likely dies with what it has to do with a pool, and lives beside what others have
// too.
func TestTwoLikelySigns(t *testing.T) {
	testutil.Privileged(t)
	tls := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	tls.StartTLS()
	defer tls.Close()
	_, other, _ := net.SplitHostPort(tls.Listener.Addr().String())
	// bash writes a hello in pieces, up to each byte 10. The TLS server closes the connection at the first
	// bytes that are not TLS, so the next write would kill bash by SIGPIPE. This port never answers.
	proxy, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	_, silent, _ := net.SplitHostPort(proxy.Addr().String())
	for _, at := range []string{"127.77.0.1:443", "127.77.0.1:3333"} {
		l, err := net.Listen("tcp4", at)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		_ = s.Listener.Close()
		if s.Listener = l; strings.HasSuffix(at, ":443") {
			s.StartTLS()
		} else {
			s.Start()
		}
		defer s.Close()
	}
	unpacked := testutil.Unpacked(t, "dash", "coreutils", "argon2", "restic")
	_, inside := testutil.UnpackedDir(t, unpacked)
	variables := []string{
		"pool=" + signsPool, "other=" + other, "silent=" + silent, "walk=" + testutil.BuildC(t, "test/victims/scratchpad.c"), "modes=" + testutil.BuildC(t, "test/victims/honest_modes.c"),
		"wasm=" + testutil.BuildWasm(t, "internal/detector/hashwork/testdata/scratchpad.wat"), "unpacked=" + unpacked, "inside=" + inside,
		"hello=" + escaped(testutil.ClientHello(t, signsPool)),
		"socks=" + escaped("\x05\x01\x00\x05\x01\x00\x03"+string(rune(len(signsPool)))+signsPool+"\x01\xbb"),
		"question=" + escaped("\x01\x02\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07minexmr\x03com\x00\x00\x01\x00\x01"),
	}
	on := map[string]any{"enabled": true}
	a := agenttest.Start(t, agenttest.Options{
		Rules: agenttest.Rules{Strings: []string{agenttest.NewWord()}},
		Settings: map[string]any{
			"tcpflowkiller": on, "monero": on, "builtinRules": map[string]any{"pools": "observe"}, "logLevel": "debug",
			"hashwork": map[string]any{"enabled": true, "sampleRate": 97, "program": map[string]any{"enabled": false, "cpuTime": "1s"}},
		},
	})
	t.Cleanup(func() {
		for _, l := range a.Lines(func(l agenttest.Line) bool { return t.Failed() && l.Action != "" }) {
			t.Log(l.Raw)
		}
	})
	all := besides()
	groups := make([]running, len(all))
	for i, b := range all {
		cmd := exec.Command("bash", "-c", b.script)
		cmd.Env = append(cmd.Environ(), variables...)
		groups[i] = running{beside: b, cgroup: agenttest.PodCgroup(fmt.Sprintf("%02d", i))}
		if b.onHost {
			groups[i].cgroup = fmt.Sprintf("/cryptnono-signs-%d", i)
		}
		var s syscall.Stat_t
		if err := syscall.Stat(agenttest.MakeCgroup(t, groups[i].cgroup), &s); err != nil {
			t.Fatal(err)
		}
		groups[i].id = fmt.Sprintf(`"cgroup_id":%d,`, s.Ino)
		groups[i].Group = agenttest.StartGroup(t, agenttest.InCgroup(t, groups[i].cgroup, cmd))
	}
	left := make(map[int]bool)
	for i := range all {
		left[i] = true
	}
	for end := time.Now().Add(testutil.Patience(2 * time.Minute)); len(left) > 0 && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		for i := range left {
			if all[i].with != "" && groups[i].isKilled(t, a) || all[i].with == "" && groups[i].isSeen(a) {
				delete(left, i)
			}
		}
	}
	for i := range left {
		t.Errorf("%s: not seen", all[i].name)
	}
}

// A running is a beside at work.
type running struct {
	beside
	*agenttest.Group
	cgroup, id string
}

// isKilled reports whether the process that computes was killed, and checks the line.
func (r running) isKilled(t *testing.T, a *agenttest.Agent) bool {
	t.Helper()
	killed := a.Verdicts("killed", r.Process.Pid)
	if len(killed) > 0 && !strings.Contains(killed[0].Raw, `"with":"`+r.with+`"`) {
		t.Errorf("%s: %s", r.name, killed[0].Raw)
	}
	return len(killed) > 0
}

// isSeen reports whether what must live was examined, and all of its signs are seen. Then it ends it,
// unless it was killed.
func (r running) isSeen(a *agenttest.Agent) bool {
	seen := func(want func(agenttest.Line) bool) bool { return len(a.Lines(want)) > 0 }
	if !seen(func(l agenttest.Line) bool { return l.Msg == "examined a process" && strings.Contains(l.Raw, r.id) }) {
		return false
	}
	for detector := range strings.FieldsSeq(r.signs) {
		if !seen(func(l agenttest.Line) bool {
			return l.Cgroup == r.cgroup && l.Action == "observed" && l.Detector == detector
		}) {
			return false
		}
	}
	if seen(func(l agenttest.Line) bool { return l.Cgroup == r.cgroup && l.Action == "killed" }) || r.Dead(0) {
		return false
	}
	r.Kill()
	return true
}

// escaped returns bytes as printf takes them.
func escaped(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		fmt.Fprintf(&b, `\x%02x`, c)
	}
	return b.String()
}
