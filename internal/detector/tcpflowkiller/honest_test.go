package tcpflowkiller

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A job is what an ordinary program does again and again.
type job struct {
	argv []string
	// remote: it asks the archives of this machine, and is left out if they do not answer.
	remote bool
}

// run runs the job in a directory, with start.
func (j job) run(t *testing.T, dir string, start func(*exec.Cmd) *exec.Cmd) error {
	t.Helper()
	// A file and no pipe, which what it leaves behind would keep open.
	out, err := os.CreateTemp(dir, "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(j.argv[0], j.argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GIT_TERMINAL_PROMPT=0", "no_proxy=127.0.0.1", "HOME="+dir)
	if signal, status := ended(start(cmd)); signal != 0 || status != 0 {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("signal %v, status %d: %.500s", signal, status, text)
	}
	return nil
}

// Ordinary clients and servers work, each ten times, or with SOAK for half an hour: nothing is
// refused, observed or killed.
func TestHonestProgramsAtWorkAreNotRefused(t *testing.T) {
	b := newBed(t, bedOptions{cgroup: podCgroup})
	b.classify()
	dir := t.TempDir()
	jobs := slices.DeleteFunc(b.honestJobs(dir), func(j job) bool {
		if !j.remote {
			return false
		}
		outside := func(cmd *exec.Cmd) *exec.Cmd { return testutil.Start(t, cmd) }
		err := j.run(t, dir, outside)
		if err != nil {
			t.Logf("%s is left out: %v", j.argv[0], err)
		}
		return err != nil
	})
	soak := os.Getenv("SOAK") != ""
	var mu sync.Mutex
	runs := make(map[string]int)
	began := time.Now()
	more := func(rounds int) bool {
		if soak {
			return time.Since(began) < 30*time.Minute
		}
		return rounds < 10
	}
	t.Run("two at a time", func(t *testing.T) {
		for half := range 2 {
			t.Run(strconv.Itoa(half), func(t *testing.T) {
				t.Parallel()
				for rounds := 0; more(rounds) && !t.Failed(); rounds++ {
					for i, j := range jobs {
						if i%2 != half || j.remote && !soak && rounds > 0 { // archives are slow
							continue
						}
						if err := j.run(t, dir, b.run); err != nil && j.remote {
							t.Logf("%s: %v", j.argv, err) // what was refused is counted below
						} else if err != nil {
							t.Errorf("%s: %v", j.argv, err)
						}
						mu.Lock()
						runs[filepath.Base(j.argv[0])]++
						mu.Unlock()
					}
				}
			})
		}
	})
	t.Log("runs:", runs)
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

// honestJobs starts servers in the cgroup, and returns what clients do with them.
func (b *bed) honestJobs(dir string) []job {
	b.t.Helper()
	if err := os.MkdirAll(dir+"/lists/partial", 0o755); err != nil {
		b.t.Fatal(err)
	}
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"result":%d}`, len(body))
	}))
	b.t.Cleanup(web.Close)
	call := `{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}`
	redis, ssh, database := b.redis(dir), b.ssh(dir), b.postgres()
	jobs := []job{
		{argv: []string{"apt-get", "-qq", "-o", "Dir::State::lists=" + dir + "/lists", "update"}, remote: true},
		{argv: []string{"go", "list", "-m", "-versions", "golang.org/x/text"}, remote: true},
		{argv: []string{"npm", "view", "--cache", dir + "/npm", "semver", "version"}, remote: true},
		{argv: []string{"git", "ls-remote", b.git(dir)}},
		{argv: []string{"curl", "-sSk", "-o", "/dev/null", "-d", call, web.URL}},
		{argv: []string{"curl", "-sSk", "-o", "/dev/null", "-d", call, b.nginx(dir, web.URL)}},
		{argv: []string{"wget", "-q", "--no-check-certificate", "-O", "/dev/null", "--post-data=" + call, web.URL}},
		{argv: []string{"python3", "-c", "import requests,sys; requests.post(sys.argv[1], data=sys.argv[2], verify=False)", web.URL, call}},
		{argv: []string{"node", "-e", "process.env.NODE_TLS_REJECT_UNAUTHORIZED='0'; " +
			"require('https').request(process.argv[1], {method: 'POST'}, r => r.resume()).end(process.argv[2])", web.URL, call}},
		{argv: []string{"redis-cli", "-p", redis, "set", "eth_getWork", call}},
		{argv: []string{"redis-benchmark", "-p", redis, "-q", "-n", "1000"}},
		{argv: []string{"ssh-keyscan", "-p", ssh, "127.0.0.1"}},
		{argv: []string{database.program("pgbench"), "-h", "127.0.0.1", "-p", database.port, "-U", "nobody", "-t", "50", "postgres"}},
	}
	if _, err := exec.LookPath("chromium"); err == nil { // not in every distribution
		jobs = append(jobs, job{argv: []string{
			"chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + dir + "/chromium",
			"--ignore-certificate-errors", "--dump-dom", web.URL,
		}})
	}
	return jobs
}

// serve starts a server in the cgroup that listens on a port of 127.0.0.1, until the test ends.
func (b *bed) serve(port string, argv ...string) {
	b.t.Helper()
	out, err := os.CreateTemp(b.t.TempDir(), "")
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	b.run(cmd)
	b.t.Cleanup(func() {
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		_ = cmd.Process.Signal(syscall.SIGTERM) // so that its own processes end too
		_ = cmd.Wait()
		text, _ := os.ReadFile(out.Name())
		_ = out.Close()
		if b.t.Failed() {
			b.t.Logf("%s: %.1000s", argv[0], text)
		}
	})
	testutil.Eventually(b.t, argv[0], func() bool {
		c, err := net.Dial("tcp4", "127.0.0.1:"+port)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

// freePort returns a port of 127.0.0.1 on which nothing listens.
func (b *bed) freePort() string {
	b.t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// prepare runs a command that a server needs first.
func (b *bed) prepare(argv ...string) {
	b.t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		b.t.Fatalf("%s: %v: %s", argv, err, out)
	}
}

// redis starts a server of Redis, which Debian's redis-tools have under the name of a tool, and
// returns its port.
func (b *bed) redis(dir string) (port string) {
	b.t.Helper()
	tool, err := exec.LookPath("redis-check-rdb")
	if err == nil {
		err = os.Symlink(tool, dir+"/redis-server")
	}
	if err != nil {
		b.t.Fatal(err)
	}
	port = b.freePort()
	b.serve(port, dir+"/redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir)
	return port
}

// ssh starts an SSH server, and returns its port.
func (b *bed) ssh(dir string) (port string) {
	b.t.Helper()
	b.prepare("dropbearkey", "-t", "ed25519", "-f", dir+"/key")
	port = b.freePort()
	b.serve(port, "dropbear", "-F", "-E", "-r", dir+"/key", "-p", "127.0.0.1:"+port)
	return port
}

// nginx starts a proxy of a server, and returns its URL.
func (b *bed) nginx(dir, server string) (url string) {
	b.t.Helper()
	program, err := filepath.Abs("../../../.cache/bin/nginx")
	if err != nil {
		b.t.Fatal(err)
	}
	port := b.freePort()
	settings := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log stderr; user root;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	server { listen 127.0.0.1:%[2]s; location / { proxy_pass %[3]s; } }
}
`, dir, port, server)
	if err := os.WriteFile(dir+"/nginx.conf", []byte(settings), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.serve(port, program, "-c", dir+"/nginx.conf")
	return "http://127.0.0.1:" + port
}

// A database is a server of PostgreSQL.
type database struct{ bin, port string }

func (d database) program(name string) string { return filepath.Join(d.bin, name) }

func (b *bed) postgres() database {
	b.t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		b.t.Fatal("no PostgreSQL: scripts/install-deps")
	}
	d := database{found[len(found)-1], b.freePort()}
	dir, err := os.MkdirTemp("", "") // which nobody can reach
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		b.t.Fatal(err)
	}
	as := []string{"setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"}
	b.prepare(append(as, d.program("initdb"), "-D", dir+"/data", "-N", "-A", "trust")...)
	b.serve(d.port, append(as, d.program("postgres"), "-D", dir+"/data", "-k", dir, "-h", "127.0.0.1", "-p", d.port, "-F")...)
	testutil.Eventually(b.t, "the database is ready", func() bool {
		return exec.Command(d.program("pg_isready"), "-h", "127.0.0.1", "-p", d.port, "-q").Run() == nil
	})
	b.prepare(d.program("pgbench"), "-h", "127.0.0.1", "-p", d.port, "-U", "nobody", "-q", "-i", "postgres")
	return d
}

// git serves a repository, and returns its URL.
func (b *bed) git(dir string) (url string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.org/empty\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.prepare("git", "init", "-q", "--bare", dir+"/repository")
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		b.t.Fatal(err)
	}
	port := b.freePort()
	b.serve(port, filepath.Join(strings.TrimSpace(string(path)), "git-daemon"), "--export-all", "--base-path="+dir, "--listen=127.0.0.1", "--port="+port)
	return "git://127.0.0.1:" + port + "/repository"
}
