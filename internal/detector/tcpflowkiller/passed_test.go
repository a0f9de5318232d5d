package tcpflowkiller

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A part is played by this test program, started again.
const partVariable = "CRYPTNONO_TEST_PART"

type part struct {
	Name    string // of a function below
	Path    string // of a Unix socket
	Address string // of a server
	Other   string // another one
	Says    string
	Sends   []byte // that are no text
	UID     int
}

// play plays a part, and exits.
func play(text string) {
	var p part
	must(json.Unmarshal([]byte(text), &p))
	if p.UID != 0 {
		must(syscall.Setresuid(p.UID, p.UID, p.UID))
	}
	map[string]func(part){"keeps": keepSocket, "reads": readOnly, "passes": passSocket, "tunnels": tunnel, "talks": talk, "connects again": connectAgain, "hoards": hoard, "fetches": fetch, "fills": fill, "lends": lend, "borrows": borrow, "connects": connect}[p.Name](p)
}

// receive accepts a connection on a Unix socket.
func receive(p part) *net.UnixConn {
	l, err := net.Listen("unix", p.Path)
	must(err)
	must(os.Chmod(p.Path, 0o777))
	fmt.Println("ready")
	must(l.(*net.UnixListener).SetDeadline(time.Now().Add(testutil.Patience(20 * time.Second))))
	c, err := l.Accept()
	must(err)
	return c.(*net.UnixConn)
}

// keepSocket receives a socket and keeps it.
func keepSocket(p part) {
	c := receive(p)
	_, n, _, _, err := c.ReadMsgUnix(make([]byte, 1), make([]byte, 64))
	must(err)
	if n == 0 {
		os.Exit(exitFailed)
	}
	time.Sleep(testutil.Patience(time.Second))
}

// readOnly wants only the byte: the kernel closes the socket that comes with it.
func readOnly(p part) {
	_, err := receive(p).Read(make([]byte, 1))
	must(err)
	time.Sleep(testutil.Patience(time.Second))
}

// passSocket writes a login, which the kernel keeps back, and passes the socket to somebody else.
func passSocket(p part) {
	c, err := net.Dial("tcp", p.Address)
	must(err)
	must(sendMore(c.(*net.TCPConn), []byte(login)))
	pass(p, c.(*net.TCPConn))
}

// pass gives a socket to who waits in receive.
func pass(p part, c interface{ File() (*os.File, error) }) {
	f, err := c.File()
	must(err)
	to, err := net.Dial("unix", p.Path)
	must(err)
	_, _, err = to.(*net.UnixConn).WriteMsgUnix([]byte{1}, syscall.UnixRights(int(f.Fd())), nil)
	must(err)
}

// tunnel sends to one server what another one sends, as a reverse tunnel does.
func tunnel(p part) {
	from, err := net.Dial("tcp", p.Other)
	must(err)
	b := make([]byte, 4096)
	n, err := from.Read(b)
	must(err)
	to, err := net.Dial("tcp", p.Address)
	must(err)
	_, err = to.Write(b[:n])
	must(err)
	time.Sleep(testutil.Patience(time.Second))
}

// startPart starts somebody who plays a part in a cgroup.
func (b *bed) startPart(cgroup string, p part) (*exec.Cmd, *bufio.Reader) {
	b.t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		b.t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), partVariable+"="+string(text))
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	return testutil.StartIn(b.t, cgroup, cmd), bufio.NewReader(out)
}

// A stranger who passes a socket with a miner's words in it cannot have another user's process
// killed, nor one of another container: they are refused.
func TestASocketOfAStrangerKillsNobodyElse(t *testing.T) {
	for _, victim := range []string{"reads", "keeps"} {
		for _, stranger := range []string{"another user", "in another container", "the same user"} {
			t.Run(victim+", "+stranger, func(t *testing.T) {
				t.Parallel()
				b := newBed(t, bedOptions{Options: detectortest.Options{}})
				s := newSink(t, "tcp4", "127.0.0.1:0")
				dir := t.TempDir()
				for _, d := range []string{dir, filepath.Dir(dir)} { // others reach it
					if err := os.Chmod(d, 0o755); err != nil {
						t.Fatal(err)
					}
				}
				p := part{Name: victim, Path: filepath.Join(dir, "socket"), Address: s.Addr().String()}
				cmd, out := b.startPart(b.cgroup, p)
				if line, err := out.ReadString('\n'); line != "ready\n" {
					t.Fatal(line, err)
				}
				p.Name = "passes"
				cgroup := b.cgroup
				switch stranger {
				case "another user":
					p.UID = 65534
				case "in another container":
					cgroup = testutil.MakeCgroup(t, filepath.Base(b.cgroup)+"/stranger")
				}
				other, said := b.startPart(cgroup, p)
				if text, _ := said.ReadString('\n'); text != "" {
					t.Fatal(text)
				}
				_, _ = ended(other)
				signal, _ := ended(cmd)
				if killed := signal == syscall.SIGKILL; killed && stranger != "the same user" {
					t.Error("killed")
				}
				if s.text() != "" {
					t.Errorf("%q arrives", s.text())
				}
				if stranger == "the same user" {
					return // it could kill it itself
				}
				// Whoever holds it when the kernel sends, or the stranger.
				if f, err := b.d.fates(); err != nil || f[bpfReasonBECAUSE_STRATUM][bpfFateFATE_REFUSED] == 0 {
					t.Error(f, err)
				}
				for _, l := range b.lines(cmd.Process.Pid) {
					if l["action"] != "refused" || l["spared"] != "passed" {
						t.Error(l)
					}
				}
			})
		}
	}
}

// What comes through a tunnel is another one's.
func TestTunnelsAreRefusedAndLive(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	s := newSink(t, "tcp4", "127.0.0.1:0")
	far, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	cmd, _ := b.startPart(b.cgroup, part{Name: "tunnels", Address: s.Addr().String(), Other: far.Addr().String()})
	c, err := far.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(login)); err != nil {
		t.Fatal(err)
	}
	if signal, _ := ended(cmd); signal != 0 {
		t.Errorf("killed by %v", signal)
	}
	if l := b.line(cmd.Process.Pid); l["action"] != "refused" || l["spared"] != "forwarder" {
		t.Error(l)
	}
	if s.text() != "" {
		t.Errorf("%q arrives", s.text())
	}
}

// lend passes a socket for DNS questions.
func lend(p part) {
	c, err := net.Dial("udp", p.Address)
	must(err)
	pass(p, c.(*net.UDPConn))
}

// borrow asks with the socket that it receives.
func borrow(p part) {
	rights := make([]byte, 64)
	_, n, _, _, err := receive(p).ReadMsgUnix(make([]byte, 1), rights)
	must(err)
	all, err := syscall.ParseSocketControlMessage(rights[:n])
	must(err)
	fds, err := syscall.ParseUnixRights(&all[0])
	must(err)
	_, err = syscall.Write(fds[0], p.Sends)
	must(err)
}

// What is sent by a socket of another container may be sent for it, and only finish in this process, as
// what a firewall in user space lets through: it is not marked.
func TestAQuestionOfAnotherContainerMarksNobody(t *testing.T) {
	b := newBed(t, bedOptions{})
	for _, c := range []struct {
		lender string
		marks  uint64
	}{{"", 1}, {"another", 0}} {
		before := b.counter(bpfOwnCounterMARKED)
		asked, err := net.ListenPacket("udp4", dns)
		if err != nil {
			t.Fatal(err)
		}
		cgroup := b.cgroup
		if c.lender != "" {
			cgroup = testutil.MakeCgroup(t, filepath.Join(filepath.Base(b.cgroup), c.lender))
		}
		p := part{Name: "borrows", Path: filepath.Join(t.TempDir(), "socket"), Address: dns, Sends: []byte(question("minexmr.com", false))}
		borrower, out := b.startPart(b.cgroup, p)
		if line, err := out.ReadString('\n'); line != "ready\n" {
			t.Fatal(line, err)
		}
		p.Name = "lends"
		lender, _ := b.startPart(cgroup, p)
		_, _ = ended(lender)
		if _, status := ended(borrower); status != exitDone {
			t.Errorf("%q: status %d", c.lender, status)
		}
		if n, _, err := asked.ReadFrom(make([]byte, 512)); n != len(p.Sends) || err != nil {
			t.Errorf("%q: %d bytes, %v", c.lender, n, err)
		}
		_ = asked.Close()
		if n := b.counter(bpfOwnCounterMARKED) - before; n != c.marks {
			t.Errorf("%q: %d marked", c.lender, n)
		}
	}
}
