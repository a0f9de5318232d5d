package tcpflowkiller

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// Ordinary clients and servers work for two minutes, or with SOAK for half an hour: nothing is
// refused, observed or killed. Those that are not installed are left out. Package managers ask
// the archives of this machine.
func TestHonestProgramsAtWorkAreNotRefused(t *testing.T) {
	b := newBed(t, bedOptions{cgroup: podCgroup})
	b.classify()
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/lists/partial", 0o755); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"result":%d}`, len(body))
	}))
	defer web.Close()
	call := `{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}`
	jobs := [][]string{
		{"apt-get", "-qq", "-o", "Dir::State::lists=" + dir + "/lists", "update"},
		{"go", "list", "-m", "-versions", "golang.org/x/text"},
		{"npm", "view", "--cache", dir + "/npm", "semver", "version"},
		{"git", "ls-remote", b.gitServer(dir)},
		{"curl", "-sSk", "-o", "/dev/null", "-d", call, web.URL},
		{"wget", "-q", "--no-check-certificate", "-O", "/dev/null", "--post-data=" + call, web.URL},
		{"python3", "-c", "import ssl,sys,urllib.request as u; u.urlopen(sys.argv[1], sys.argv[2].encode(), context=ssl._create_unverified_context()).read()", web.URL, call},
		{"node", "-e", "process.env.NODE_TLS_REJECT_UNAUTHORIZED='0'; require('https').request(process.argv[1], {method: 'POST'}, r => r.resume()).end(process.argv[2])", web.URL, call},
	}
	duration := 2 * time.Minute
	if os.Getenv("SOAK") != "" {
		duration = 30 * time.Minute
	}
	ctx, stop := context.WithTimeout(t.Context(), duration)
	defer stop()
	runs := make(map[string]int)
	for ctx.Err() == nil {
		for _, job := range jobs {
			program, err := exec.LookPath(job[0])
			if err != nil || ctx.Err() != nil {
				continue
			}
			var out strings.Builder
			cmd := exec.Command(program, job[1:]...)
			cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
			cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GIT_TERMINAL_PROMPT=0", "no_proxy=127.0.0.1")
			if signal, status := ended(b.run(cmd)); signal != 0 || status != 0 {
				t.Errorf("%s: signal %v, status %d: %.500s", job[0], signal, status, out.String())
			}
			runs[job[0]]++
		}
		if t.Failed() {
			break
		}
	}
	t.Log("runs:", runs)
	if len(runs) < 4 {
		t.Errorf("only %d programs are installed", len(runs))
	}
	fates, err := b.d.fates()
	if err != nil {
		t.Fatal(err)
	}
	for reason, all := range fates {
		for fate, n := range all {
			if n != 0 {
				t.Errorf("%s: %d with the fate %d", reasons[reason], n, fate)
			}
		}
	}
	if log := b.log.String(); strings.Contains(log, `"action"`) {
		t.Error(log)
	}
}

// gitServer serves a repository, and returns its URL.
func (b *bed) gitServer(dir string) string {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.org/empty\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	git, err := exec.LookPath("git")
	if err != nil {
		return ""
	}
	if out, err := exec.Command(git, "init", "-q", "--bare", dir+"/repository").CombinedOutput(); err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	server := exec.Command(git, "daemon", "--export-all", "--base-path="+dir, "--listen=127.0.0.1", fmt.Sprintf("--port=%d", port))
	b.run(server)
	b.t.Cleanup(func() { _ = server.Process.Signal(syscall.SIGTERM) })
	testutil.Eventually(b.t, "git daemon", func() bool {
		c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	return fmt.Sprintf("git://127.0.0.1:%d/repository", port)
}
