package attacks

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// serverRows are servers whose titles contain a client's input or their own command line.
func serverRows(t *testing.T, b *bed) []row {
	return append(postgresRows(t, b),
		row{"B01b", "vsftpd, an anonymous client fetches a file with a banned name", "the transfer continues, after reloads too", func(t *testing.T) (string, bool) {
			return fetches(t, b)
		}},
		row{"B01c", "nginx, which an allow pattern matches, and whose title begins with another text", "lives, after reloads too", func(t *testing.T) (string, bool) {
			return serves(t, b)
		}})
}

// fetches downloads a file of 8 MiB slowly from vsftpd.
func fetches(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	dir, port := b.folder(t), freePort(t)
	for _, name := range []string{"empty", "root"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const size = 8 << 20
	if err := os.WriteFile(filepath.Join(dir, "root", word), make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
	settings := fmt.Sprintf(`listen=YES
background=NO
listen_address=127.0.0.1
pasv_address=127.0.0.1
listen_port=%d
anonymous_enable=YES
no_anon_password=YES
anon_root=%s/root
ftp_username=bin
nopriv_user=nobody
secure_chroot_dir=%s/empty
setproctitle_enable=YES
seccomp_sandbox=NO
`, port, dir, dir)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	rules := agenttest.Rules{Strings: []string{word}}
	a := scanning(t, rules)
	agenttest.StartGroup(t, exec.Command(installed(t, "vsftpd"), filepath.Join(dir, "conf")))

	var control net.Conn
	agenttest.Eventually(t, "vsftpd listens", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		control = c
		return err == nil
	})
	defer control.Close()
	answers := bufio.NewReader(control)
	ask := func(command string) string {
		t.Helper()
		_ = control.SetDeadline(time.Now().Add(agenttest.Patience()))
		if _, err := io.WriteString(control, command); err != nil {
			t.Fatal(err)
		}
		answer, err := answers.ReadString('\n')
		if err != nil {
			t.Fatalf("%q: %v", command, err)
		}
		return answer
	}
	ask("")
	ask("USER anonymous\r\n")
	answer := ask("PASV\r\n")
	var numbers [6]int
	_, list, _ := strings.Cut(answer, "(")
	if _, err := fmt.Sscanf(list, "%d,%d,%d,%d,%d,%d", &numbers[0], &numbers[1], &numbers[2], &numbers[3], &numbers[4], &numbers[5]); err != nil {
		t.Fatalf("%q: %v", answer, err)
	}
	data, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", numbers[4]<<8+numbers[5]))
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	ask("RETR " + word + "\r\n")
	waitAndReload(t, a, rules)
	n, _ := io.Copy(io.Discard, data)
	return fmt.Sprintf("%d of %d bytes came", n, size), n == size
}

// serves runs an nginx whose configuration has the word in its path.
func serves(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	dir := b.folder(t)
	nginx := installed(t, "nginx")
	settings := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log %[1]s/error; user nobody nogroup;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	server { listen unix:%[1]s/socket; return 200 "served"; }
}
`, dir)
	file := filepath.Join(dir, word+".conf")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	rules := agenttest.Rules{Strings: []string{word}, Allowed: []string{nginx + ` .*`}}
	a := scanning(t, rules)
	var c crowd
	server := c.start(t, exec.Command(nginx, "-c", file))
	agenttest.Within(soon(), func() bool { // or it has been killed
		_, err := os.Stat(filepath.Join(dir, "socket"))
		return err == nil || server.Dead(time.Millisecond)
	})
	waitAndReload(t, a, rules)
	client, err := net.Dial("unix", filepath.Join(dir, "socket"))
	if err != nil {
		return "dead", false
	}
	defer client.Close()
	_ = client.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(client, "GET / HTTP/1.0\r\n\r\n")
	page, _ := io.ReadAll(client)
	return fmt.Sprintf("serves: %v", strings.HasSuffix(string(page), "served")), strings.HasSuffix(string(page), "served")
}

// waitAndReload waits for scans, changes the rules, and waits for scans again.
func waitAndReload(t *testing.T, a *agenttest.Agent, rules agenttest.Rules) {
	t.Helper()
	time.Sleep(2500 * time.Millisecond)
	rules.Strings = append(rules.Strings, agenttest.NewWord())
	writeRules(t, a, rules)
	a.Reload(t)
	time.Sleep(2500 * time.Millisecond)
}
