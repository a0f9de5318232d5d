package packaging

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// needed are the capabilities that docs/install.md lists.
var needed = []string{"BPF", "PERFMON", "KILL", "SYS_PTRACE", "DAC_READ_SEARCH", "NET_ADMIN", "CHECKPOINT_RESTORE"}

// word is banned in the containers below, and is on no other command line.
var word = "forbidden-" + strconv.Itoa(os.Getpid())

// An engine is Podman with its own namespaces and state directories.
type engine struct {
	machine
	dir string
}

func newEngine(t *testing.T) engine {
	t.Helper()
	archive := filepath.Join(built(t, first), "cryptnono-image.tar")
	t.Cleanup(func() { removeCgroups(t, "libpod_parent") })
	dir := t.TempDir()
	pid := hold(t, exec.Command("unshare", "--mount", "bash", "-c", "mount -t tmpfs tmpfs /run && echo $$ && cat >/dev/null"))
	e := engine{machine{pid}, dir}
	t.Cleanup(func() { _, _ = e.try(e.podman("rm", "--all", "--force", "--time", "0")...) })
	e.run(t, e.podman("load", "--quiet", "--input", archive)...)
	return e
}

func (e engine) podman(args ...string) []string {
	return append([]string{"podman", "--root", e.dir, "--runroot", "/run/state", "--tmpdir", "/run/files", "--storage-driver", "vfs",
		"--cgroup-manager", "cgroupfs", "--runtime", "/usr/sbin/runc", "--events-backend", "none"}, args...)
}

// A verdict is a line of the agent's log.
type verdict struct {
	Msg, Action, Source, Err string
	PID                      int
	Env                      map[string]string
	Detectors                []string
}

// start starts the agent with these capabilities and waits until it is ready, or has
// ended. It returns its log.
func (e engine) start(t *testing.T, capabilities []string, settings string) (log func() string, ready bool) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	name := "agent" + strconv.Itoa(len(capabilities)) + strings.Join(capabilities, "")
	args := []string{"run", "--detach", "--name", name, "--pid", "host", "--read-only", "--network", "none",
		"--security-opt", "no-new-privileges",
		// The seccomp profile of Podman 4.3 allows bpf only with CAP_SYS_ADMIN: docs/install.md.
		"--security-opt", "seccomp=unconfined",
		// The defaults of Podman are higher than a host without CAP_SYS_RESOURCE allows.
		"--ulimit", fmt.Sprintf("nofile=%d:%d", limit.Max, limit.Max), "--ulimit", "nproc=4096:4096",
		"--volume", filepath.Dir(settings) + ":/etc/cryptnono:ro", "--cap-drop", "ALL"}
	for _, c := range capabilities {
		args = append(args, "--cap-add", c)
	}
	e.run(t, e.podman(append(args, "docker.io/cryptnono/cryptnono:"+version, "run", "--config", "/etc/cryptnono/settings.yaml")...)...)
	t.Cleanup(func() { e.run(t, e.podman("rm", "--force", "--time", "1", name)...) })
	log = func() string { return e.run(t, e.podman("logs", name)...) }
	testutil.Eventually(t, "a ready agent, or its end", func() bool {
		ready = strings.Contains(log(), `"msg":"ready"`)
		return ready || strings.TrimSpace(e.run(t, e.podman("inspect", "--format", "{{.State.Running}}", name)...)) == "false"
	})
	return log, ready
}

// verdicts returns the lines of a log.
func verdicts(t *testing.T, log string) (all []verdict) {
	t.Helper()
	for l := range strings.Lines(log) {
		var v verdict
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Fatalf("%v in %s", err, l)
		}
		all = append(all, v)
	}
	return all
}

// writeSettings writes settings and rules, and returns the path of the settings. owner
// is the owner of the rule file.
func writeSettings(t *testing.T, owner int) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	rules, settings := filepath.Join(dir, "rules.yaml"), filepath.Join(dir, "settings.yaml")
	for file, text := range map[string]string{
		rules:    "bannedCommandStrings: [" + word + "]\n",
		settings: "logEnv: [WHO]\nbuiltinRules: false\nrules: [rules.yaml]\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(rules, owner, owner); err != nil {
		t.Fatal(err)
	}
	return settings
}

// startBanned starts a banned program of another user before the agent runs.
func startBanned(t *testing.T) (pid int, alive func() bool) {
	t.Helper()
	cmd := exec.Command("/usr/bin/perl", "-e", "sleep 300", word)
	cmd.Dir, cmd.Env = "/", []string{"WHO=user"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	return cmd.Process.Pid, func() bool {
		select {
		case <-ended:
			return false
		default:
			return true
		}
	}
}

// The capabilities in docs/install.md are sufficient, and each one is necessary.
func TestTheImageRunsInAContainerEngine(t *testing.T) {
	e := newEngine(t)
	without := func(capability string) []string {
		return slices.DeleteFunc(slices.Clone(needed), func(c string) bool { return c == capability })
	}
	// execDies reports whether a banned program is killed as it starts.
	execDies := func() bool { return exec.Command("/bin/echo", word).Run() != nil }

	t.Run("with all capabilities it kills", func(t *testing.T) {
		pid, alive := startBanned(t)
		log, ready := e.start(t, needed, writeSettings(t, 1000))
		if !ready {
			t.Fatalf("not ready:\n%s", log())
		}
		testutil.Eventually(t, "the kill of the older process", func() bool { return !alive() })
		if !execDies() {
			t.Error("a banned program lives")
		}
		lines := verdicts(t, log())
		if !slices.ContainsFunc(lines, func(v verdict) bool {
			return v.PID == pid && v.Action == "killed" && v.Source == "scan" && v.Env["WHO"] == "user"
		}) {
			t.Errorf("no line of process %d: %+v", pid, lines)
		}
		if !slices.ContainsFunc(lines, func(v verdict) bool {
			return v.Msg == "ready" && slices.Equal(v.Detectors, []string{"execwhacker", "hashwork", "monero", "tcpflowkiller"})
		}) {
			t.Errorf("a detector is missing: %+v", lines)
		}
	})
	for _, c := range []string{"BPF", "PERFMON", "KILL", "SYS_PTRACE"} {
		t.Run("without "+c+" it exits and names the capability", func(t *testing.T) {
			log, ready := e.start(t, without(c), writeSettings(t, 0))
			if ready || !strings.Contains(log(), "CAP_"+c) {
				t.Errorf("ready: %t\n%s", ready, log())
			}
		})
	}
	t.Run("without DAC_READ_SEARCH, older processes are checked by their program only", func(t *testing.T) {
		_, alive := startBanned(t)
		log, ready := e.start(t, without("DAC_READ_SEARCH"), writeSettings(t, 0))
		if !ready || !execDies() {
			t.Errorf("ready: %t\n%s", ready, log())
		}
		if !alive() {
			t.Errorf("the older process is dead: %+v", verdicts(t, log()))
		}
	})
	t.Run("without DAC_READ_SEARCH, it starts without the rules of other users", func(t *testing.T) {
		log, ready := e.start(t, without("DAC_READ_SEARCH"), writeSettings(t, 1000))
		if !ready || !strings.Contains(log(), "rules.yaml: permission denied") {
			t.Errorf("ready: %t\n%s", ready, log())
		}
	})
}
