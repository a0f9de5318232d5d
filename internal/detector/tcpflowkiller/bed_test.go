package tcpflowkiller

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/detector/tcpflowkiller/firstbytes"
	"github.com/cryptnono/cryptnono/internal/evidence"
	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) {
	procread.ServeIfChild()
	if order := os.Getenv(orderVariable); order != "" {
		obey(order)
		return
	}
	if text := os.Getenv(partVariable); text != "" {
		play(text)
		return
	}
	if text := os.Getenv(scanVariable); text != "" {
		scanPublic(text)
		return
	}
	os.Exit(testutil.RunWithoutLeaks(m))
}

// A client is this test program, started again to do one thing.
const orderVariable = "CRYPTNONO_TEST_ORDER"

// An order says what a client does. It then stays, as a miner does.
type order struct {
	Network, Address string
	Sends            [][]byte
	Pause            time.Duration // between two
	Listen           bool          // first listen, accept a connection and wait for a byte: a forwarder
	Stay             time.Duration
	Clock            bool   // print again and again for how many nanoseconds it lives after the last byte
	More             bool   // sends with MSG_MORE
	Asks             []byte // a datagram that is sent first
	AsksAt           string
	AsksTCP          bool
	Also             []string // connections to these are made first, and stay
	ServesDNS        bool     // with a socket that is bound to port 53
	Storm            int      // connections to 127.9.9.9 and 127.9.8.9 in turn, at the port Address

	Program string   `json:"-"` // other than this test program
	Args    []string `json:"-"` // which nothing reads
	out     *os.File // for what the client prints
}

const (
	exitDone    = 0
	exitRefused = 10 // EPERM at connect
	exitFailed  = 11
)

func obey(text string) {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	if o.Listen {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		fmt.Println(l.Addr())
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		_, _ = c.Read(make([]byte, 1))
		defer c.Close()
	}
	if o.Storm > 0 {
		storm(o)
		return
	}
	if o.ServesDNS {
		c, err := net.ListenPacket("udp", "127.77.0.54:53")
		if err != nil {
			panic(err)
		}
		defer c.Close()
	}
	if len(o.Asks) > 0 {
		ask(o)
	}
	for _, address := range o.Also {
		c, err := net.Dial(o.Network, address)
		if err != nil {
			panic(err)
		}
		defer c.Close()
	}
	if o.Address == "" || len(o.Sends) == 0 {
		time.Sleep(o.Stay)
		os.Exit(exitDone)
	}
	c, err := net.DialTimeout(o.Network, o.Address, 10*time.Second)
	if err != nil {
		fmt.Println(err)
		time.Sleep(o.Stay)
		if strings.Contains(err.Error(), syscall.EPERM.Error()) {
			os.Exit(exitRefused)
		}
		os.Exit(exitFailed)
	}
	for i, s := range o.Sends {
		if i > 0 {
			time.Sleep(o.Pause)
		}
		if o.More {
			err = sendMore(c.(*net.TCPConn), s)
		} else {
			_, err = c.Write(s)
		}
		if err != nil {
			fmt.Println(err)
			time.Sleep(o.Stay)
			os.Exit(exitRefused)
		}
	}
	for began := time.Now(); o.Clock && time.Since(began) < o.Stay; time.Sleep(50 * time.Microsecond) {
		fmt.Println(time.Since(began).Nanoseconds())
	}
	time.Sleep(o.Stay)
	os.Exit(exitDone)
}

func storm(o order) {
	refused, connected := 0, 0
	for i := range o.Storm {
		c, err := net.Dial("tcp4", net.JoinHostPort([]string{"127.9.9.9", "127.9.8.9"}[i%2], o.Address))
		switch {
		case err == nil:
			connected++
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		case errors.Is(err, syscall.EPERM):
			refused++
		default:
			fmt.Println(err)
		}
	}
	fmt.Printf("%d refused, %d connected\n", refused, connected)
}

func ask(o order) {
	network := "udp"
	if o.AsksTCP {
		network = "tcp"
	}
	c, err := net.Dial(network, o.AsksAt)
	if err != nil {
		panic(err)
	}
	_, _ = c.Write(o.Asks)
	_ = c.Close()
}

// sendMore sends bytes that the kernel keeps back until there are more, for 200 ms at most.
func sendMore(c *net.TCPConn, b []byte) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = syscall.Sendto(int(fd), b, syscall.MSG_NOSIGNAL|unix.MSG_MORE, nil)
		return true
	})
	return errors.Join(err, sent)
}

// A bed is a detector for the sockets of a cgroup, and a server.
type bed struct {
	t      testing.TB
	d      *Detector
	env    detector.Env
	judged string // the cgroup that is judged
	cgroup string // of the clients
	log    testutil.Buffer
}

type bedOptions struct {
	detectortest.Options
	settings *Settings
	lists    lists
	observe  bool
	cgroup   string   // below the one that is judged
	root     *os.File // the one that is judged, instead of a new one
	logEnv   []string
	lineage  bool     // is logged
	stopped  bool     // nothing reads the events, and no process is killed
	pins     *pin.Dir // the test runs the detector
}

func newBed(t testing.TB, o bedOptions) *bed {
	t.Helper()
	b := &bed{t: t}
	o.Log = slog.New(slog.NewJSONHandler(&b.log, nil))
	b.env = detectortest.Env(t, o.Options)
	b.env.Pins = o.pins
	if o.lineage {
		b.env.Judge.Evidence = evidence.New(b.env.Judge.Reader, b.env.Inventory, evidence.Settings{WorkingDirectory: true, Ancestors: true})
	}
	b.cgroup = testutil.MakeCgroup(t, fmt.Sprintf("cryptnono-flow-%d-%d", os.Getpid(), time.Now().UnixNano()))
	b.judged = b.cgroup
	if o.cgroup != "" {
		b.cgroup = testutil.MakeCgroup(t, filepath.Base(b.cgroup)+"/"+o.cgroup)
	}
	if o.settings == nil {
		o.settings = Defaults()
	}
	if o.stopped {
		o.settings.Action = Refuse
	}
	b.load(o)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.log.String())
		}
		if err := b.d.Close(); err != nil {
			t.Error(err)
		}
	})
	if !o.stopped && o.pins == nil {
		detectortest.Run(t, b.d)
	}
	return b
}

// load loads the detector.
func (b *bed) load(o bedOptions) {
	b.t.Helper()
	if o.lists.names == nil {
		o.lists.names = []bannedName{
			{"minexmr.com", firstbytes.NameUsual, "pools"},
			{"refuse.test", firstbytes.NameRefuse, "refuse"},
			{"kill.test", firstbytes.NameKill, "kill"},
		}
	}
	root := o.root
	var err error
	if root == nil {
		root, err = os.Open(b.judged)
	}
	if err == nil {
		b.d, err = load(b.env, detector.Policy{Settings: o.settings, Observe: o.observe, LogEnv: o.logEnv}, root, o.lists, o.settings)
	}
	if err != nil {
		b.t.Fatalf("%+v", err)
	}
}

// classify has the agent know the cgroup of the clients, as it knows those of containers before
// their first program runs.
func (b *bed) classify() {
	b.t.Helper()
	cmd := b.run(exec.Command("sleep", "60"))
	defer testutil.End(cmd)
	at, err := b.env.Inventory.Locate(cmd.Process.Pid)
	if err == nil {
		_, err = b.env.Judge.Exempt.Find(b.t.Context(), at, "")
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// start starts a client in the cgroup.
func (b *bed) start(o order) (*exec.Cmd, *bytes.Buffer) {
	b.t.Helper()
	if o.Network == "" {
		o.Network = "tcp"
	}
	if o.Stay == 0 {
		o.Stay = testutil.Patience(200 * time.Millisecond)
	}
	text, err := json.Marshal(o)
	if err != nil {
		b.t.Fatal(err)
	}
	program := o.Program
	if program == "" {
		if program, err = os.Executable(); err != nil {
			b.t.Fatal(err)
		}
	}
	cmd := exec.Command(program, o.Args...)
	cmd.Env = append(os.Environ(), orderVariable+"="+string(text))
	out := &bytes.Buffer{}
	cmd.Stdout = out
	if o.out != nil {
		cmd.Stdout = o.out
	}
	return b.run(cmd), out
}

// forwarder starts a client that first listens, and has accepted a connection and read a byte from it.
func (b *bed) forwarder(o order) *exec.Cmd {
	b.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = r.Close() }) // it prints errors too
	o.Listen, o.out = true, w
	cmd, _ := b.start(o)
	_ = w.Close()
	own, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		b.t.Fatal(err)
	}
	client, err := net.Dial("tcp", strings.TrimSpace(own))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = client.Close() })
	_, _ = client.Write([]byte("x"))
	return cmd
}

// run starts a program in the cgroup.
func (b *bed) run(cmd *exec.Cmd) *exec.Cmd {
	b.t.Helper()
	dir, err := os.Open(b.cgroup)
	if err != nil {
		b.t.Fatal(err)
	}
	defer dir.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	return testutil.Start(b.t, cmd)
}

// A sink is a server that keeps what it reads.
type sink struct {
	net.Listener
	mu       sync.Mutex
	got      []byte
	accepted int
	open     []net.Conn
}

func newSink(t testing.TB, network, address string) *sink {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{Listener: l}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.accepted++
			s.open = append(s.open, c)
			s.mu.Unlock()
			open.Go(func() {
				defer c.Close()
				_, _ = io.Copy(s, c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		for _, c := range s.open { // also those whose clients have died
			_ = c.Close()
		}
		s.mu.Unlock()
		open.Wait()
	})
	return s
}

// Write keeps bytes.
func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, b...)
	return len(b), nil
}

func (s *sink) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.got)
}

func (s *sink) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = nil
}

func (s *sink) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// ended waits for a client, and returns the signal that killed it and its exit status.
func ended(cmd *exec.Cmd) (syscall.Signal, int) {
	_ = cmd.Wait()
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return status.Signal(), 0
	}
	return 0, status.ExitStatus()
}

// lines returns the verdicts on a process.
// linesOf returns the lines of a log that want returns true for.
func linesOf(log *testutil.Buffer, want func(map[string]any) bool) (all []map[string]any) {
	for line := range strings.Lines(log.String()) {
		var v map[string]any
		if json.Unmarshal([]byte(line), &v) == nil && want(v) {
			all = append(all, v)
		}
	}
	return all
}

func (b *bed) lines(pid int) (all []map[string]any) {
	return linesOf(&b.log, func(v map[string]any) bool { return v["pid"] == float64(pid) })
}

func (b *bed) line(pid int) map[string]any {
	b.t.Helper()
	var all []map[string]any
	testutil.Eventually(b.t, "a log line", func() bool { all = b.lines(pid); return len(all) > 0 })
	if len(all) > 1 {
		b.t.Errorf("%d lines: %v", len(all), all)
	}
	return all[0]
}

func prefixes(all ...string) (l []bannedAddress) {
	for _, p := range all {
		l = append(l, bannedAddress{prefix: netip.MustParsePrefix(p), origin: rules.Origin{File: "the test's " + p}})
	}
	return l
}
