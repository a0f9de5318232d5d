package attacks

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// A database is a PostgreSQL server of the test, run by an ordinary user.
type database struct {
	bin, dir string
	port     int
	log      *testutil.Buffer
	server   *agenttest.Group
}

// startPostgres creates a database and starts its server.
func startPostgres(t *testing.T, b *bed) *database {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		t.Fatal("no PostgreSQL: run scripts/install-deps")
	}
	d := &database{bin: found[len(found)-1], dir: b.folder(t), port: freePort(t)}
	if err := os.Chown(d.dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(d.dir, "data")
	out, err := d.command("initdb", "-D", data, "-U", "admin", "-N", "--auth-local=trust", "--auth-host=scram-sha-256").CombinedOutput()
	if err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	d.log = new(testutil.Buffer)
	server := d.command("postgres", "-D", data, "-k", d.dir, "-h", "127.0.0.1", "-p", fmt.Sprint(d.port), "-F")
	server.Stderr = d.log
	d.server = agenttest.StartGroup(t, server)
	agenttest.Eventually(t, "PostgreSQL is ready", func() bool { return strings.Contains(d.text(), "ready to accept connections") })
	return d
}

func (d *database) text() string {
	return d.log.String()
}

func (d *database) command(name string, args ...string) *exec.Cmd {
	cmd := asNobody(exec.Command(filepath.Join(d.bin, name), args...))
	cmd.Dir = d.dir
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin", "HOME=" + d.dir}
	return cmd
}

// A session is a legitimate client with an open connection.
type session struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (d *database) session(t *testing.T) *session {
	t.Helper()
	s := &session{cmd: d.command("psql", "-h", d.dir, "-p", fmt.Sprint(d.port), "-U", "admin", "-qAtX", "postgres")}
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.in, s.out = in, bufio.NewReader(out)
	t.Cleanup(func() {
		_ = s.in.Close()
		_ = s.cmd.Wait()
	})
	return s
}

// works reports whether the session still has its connection. If not, it ends the session.
func (s *session) works() bool {
	defer time.AfterFunc(testutil.Patience(5*time.Second), func() { _ = s.cmd.Process.Kill() }).Stop()
	if _, err := io.WriteString(s.in, "select 41+1;\n"); err != nil {
		return false
	}
	answer, _ := s.out.ReadString('\n')
	return answer == "42\n"
}

// claim connects with a user name, without logging in. The server shows the name in the title of
// the process that it forks for the connection.
func (d *database) claim(t *testing.T, user string) {
	t.Helper()
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(d.port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	// StartupMessage of protocol 3.0.
	text := "user\x00" + user + "\x00database\x00postgres\x00\x00"
	message := binary.BigEndian.AppendUint32(nil, uint32(8+len(text)))
	message = binary.BigEndian.AppendUint32(message, 3<<16)
	if _, err := c.Write(append(message, text...)); err != nil {
		t.Fatal(err)
	}
	agenttest.Eventually(t, "the name in a title", func() bool {
		titles, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range titles {
			if title, _ := os.ReadFile(file); strings.HasPrefix(string(title), "postgres: "+user) {
				return true
			}
		}
		return strings.Contains(d.text(), "terminated by signal 9") // killed already
	})
}

// postgresRows are attempts by a client of PostgreSQL with a banned user name.
func postgresRows(t *testing.T, b *bed) []row {
	try := func(older bool) func(t *testing.T) (string, bool) {
		return func(t *testing.T) (string, bool) {
			word := agenttest.NewWord()
			rules := agenttest.Rules{Strings: []string{word}}
			var a *agenttest.Agent
			if !older {
				a = scanning(t, rules)
			}
			d := startPostgres(t, b)
			honest := d.session(t)
			if !honest.works() {
				return "the database does not work", false
			}
			d.claim(t, word)
			if older {
				a = scanning(t, rules)
			}
			fates := ""
			for _, when := range []string{"scans", "a reload"} {
				time.Sleep(2500 * time.Millisecond) // for two scans
				if !honest.works() || d.server.Dead(time.Millisecond) || strings.Contains(d.text(), "terminated by signal 9") {
					fates = "the database ended all its sessions after " + when
					break
				}
				d.claim(t, word)
				rules.Strings = append(rules.Strings, agenttest.NewWord())
				writeRules(t, a, rules)
				a.Reload(t)
			}
			if fates == "" {
				return "all sessions live", true
			}
			return fates, false
		}
	}
	const expected = "no process dies, after reloads too"
	return []row{
		{"B01", "PostgreSQL, a user name that is banned, without a log-in", expected, try(false)},
		{"B01-older", "the same, PostgreSQL being older than the agent", expected, try(true)},
	}
}

// freePort returns a free port of the loopback.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
