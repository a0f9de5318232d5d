package acceptance

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

func TestTheProtectionEndsWithTheAgent(t *testing.T) {
	testutil.Privileged(t)
	for _, c := range []struct {
		signal syscall.Signal
		status int
	}{
		{syscall.SIGTERM, 0},
		{syscall.SIGINT, 0},
		{syscall.SIGKILL, -1},
	} {
		t.Run(c.signal.String(), func(t *testing.T) {
			t.Parallel()
			word := agenttest.NewWord()
			a := start(t, agenttest.Rules{Strings: []string{word}}, "--scan-interval", "1s")
			ids := programs(t, a.Process.Pid)
			if len(ids) == 0 {
				t.Fatal("the agent has no BPF program")
			}
			dies(t, exec.Command("/bin/echo", word))

			began := time.Now()
			if err := a.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			if status := a.End(); status != c.status {
				t.Errorf("exit status %d, want %d", status, c.status)
			}
			if took := time.Since(began); took > testutil.Patience(10*time.Second) {
				t.Errorf("it took %v", took)
			}
			agenttest.Eventually(t, "the end of its BPF programs", func() bool { return !anyLoaded(t, ids) })
			lives(t, exec.Command("/bin/echo", word), word+"\n")
		})
	}
}

// programs returns the ids of the BPF programs that a process holds.
func programs(t *testing.T, pid int) []ebpf.ProgramID {
	t.Helper()
	return held[ebpf.ProgramID](t, pid, "prog_id")
}

// held returns the ids in a field of the descriptors that a process holds.
func held[ID ~uint32](t *testing.T, pid int, field string) []ID {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	var ids []ID
	for _, file := range files {
		info, err := os.ReadFile(file)
		if err != nil {
			continue // closed meanwhile
		}
		for line := range strings.Lines(string(info)) {
			var id ID
			if n, _ := fmt.Sscanf(line, field+":%d", &id); n == 1 {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

func anyLoaded(t *testing.T, ids []ebpf.ProgramID) bool {
	t.Helper()
	for _, id := range ids {
		p, err := ebpf.NewProgramFromID(id)
		if err == nil {
			p.Close()
			return true
		}
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return false
}

func TestTheAgentSaysWhyItCannotStart(t *testing.T) {
	program := agenttest.Program(t)
	rules := agenttest.WriteJSON(t, "rules.json", agenttest.Rules{Strings: []string{agenttest.NewWord()}})
	for _, c := range []struct {
		name string
		cmd  *exec.Cmd
		want string // pattern of the last line, after the checks of doctor
	}{
		{"without root", asNobody(exec.Command(program, "run")), `.* root, or with CAP_BPF, CAP_PERFMON.*`},
		{
			"with an address of another machine",
			exec.Command(program, "run", "--builtin-rules=false", "--rules", rules, "--listen", "192.0.2.1:0"),
			`listening for metrics: listen tcp 192\.0\.2\.1:0: bind: cannot assign requested address`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			c.cmd.Stdout, c.cmd.Stderr = &stdout, &stderr
			err := c.cmd.Run()
			if c.cmd.ProcessState.ExitCode() != 1 || stdout.Len() > 0 {
				t.Errorf("%v, with output %q", err, stdout.String())
			}
			if want := regexp.MustCompile(`(?m)^cryptnono: ` + c.want + `\n\z`); !want.MatchString(stderr.String()) {
				t.Errorf("got %q, want %s", stderr.String(), want)
			}
		})
	}
}

// The log is a full pipe, so that each write to it blocks.
func TestALogThatIsNotReadDoesNotDelayTheEnd(t *testing.T) {
	t.Parallel()
	program, word := agenttest.Program(t), agenttest.NewWord()
	rules := agenttest.WriteJSON(t, "rules.json", agenttest.Rules{Action: "observe", Strings: []string{word}})
	log, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	a := exec.Command(program, "run", "--builtin-rules=false", "--rules", rules)
	a.Stdout = w
	a.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ready := make([]byte, 4096)
	if n, err := log.Read(ready); err != nil || !strings.Contains(string(ready[:n]), `"ready"`) {
		t.Fatalf("read %q, %v", ready[:n], err)
	}
	long := strings.Repeat("x", 4000)
	for range 2 { // the pipe holds one line
		if err := exec.Command("/bin/true", word, long).Run(); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if err := a.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(agenttest.Patience(), func() { _ = a.Process.Kill() }).Stop()
	_ = a.Wait()
	if status := a.ProcessState.ExitCode(); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	if took := time.Since(began); took > testutil.Patience(10*time.Second) {
		t.Errorf("it took %v", took)
	}
}
