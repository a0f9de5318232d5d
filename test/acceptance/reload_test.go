package acceptance

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// reloads returns the number of log lines that begin with msg.
func reloads(a *agenttest.Agent, msg string) int {
	return len(a.Lines(func(l agenttest.Line) bool { return strings.HasPrefix(l.Msg, msg) }))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAChangeOfARuleFileTakesEffect(t *testing.T) {
	t.Parallel()
	word, second := agenttest.NewWord(), agenttest.NewWord()
	a := start(t, agenttest.Rules{Strings: []string{word}})
	began := time.Now()
	write(t, a.Rules, `{"bannedCommandStrings": ["`+second+`"]}`)
	agenttest.Eventually(t, "the reload", func() bool { return reloads(a, "reloaded") == 1 })
	if took := time.Since(began); took > 2*time.Second {
		t.Logf("it took %v", took)
	}
	lives(t, exec.Command("/bin/echo", word), word+"\n")
	cmd := exec.Command("/bin/echo", second)
	dies(t, cmd)
	if l := a.Verdict(t, "killed", cmd.Process.Pid); l.Matched != second {
		t.Errorf("%s", l.Raw)
	}
}

// Nobody changes the file a second time, or asks for another reload.
func TestAReloadThatLacksDescriptorsIsTriedAgain(t *testing.T) {
	t.Parallel()
	word, second := agenttest.NewWord(), agenttest.NewWord()
	a := start(t, agenttest.Rules{Strings: []string{word}})
	var limit unix.Rlimit
	if err := unix.Prlimit(a.Process.Pid, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = uint64(a.Descriptors()) + 8
	if err := unix.Prlimit(a.Process.Pid, unix.RLIMIT_NOFILE, &few, nil); err != nil {
		t.Fatal(err)
	}
	write(t, a.Rules, `{"bannedCommandStrings": ["`+second+`"]}`)
	agenttest.Eventually(t, "a reload that is refused", func() bool { return reloads(a, "reload refused") > 0 })
	dies(t, exec.Command("/bin/echo", word))
	if err := unix.Prlimit(a.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	agenttest.Eventually(t, "the reload", func() bool { return reloads(a, "reloaded") == 1 })
	lives(t, exec.Command("/bin/echo", word), word+"\n")
	dies(t, exec.Command("/bin/echo", second))
}

// The kubelet updates a mounted ConfigMap with a new directory and an atomic rename of a link.
func TestAConfigMapThatIsUpdatedTakesEffect(t *testing.T) {
	t.Parallel()
	words := []string{agenttest.NewWord(), agenttest.NewWord()}
	dir := t.TempDir()
	update := func(version int) {
		t.Helper()
		name := "..v" + strconv.Itoa(version)
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "rules.yaml"), "bannedCommandStrings: ["+words[version]+"]\n")
		err := errors.Join(os.Symlink(name, filepath.Join(dir, "..tmp")), os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
		if err != nil {
			t.Fatal(err)
		}
	}
	update(0)
	if err := os.Symlink("..data/rules.yaml", filepath.Join(dir, "rules.yaml")); err != nil {
		t.Fatal(err)
	}
	a := start(t, agenttest.Rules{}, "--rules", dir)
	dies(t, exec.Command("/bin/echo", words[0]))
	update(1)
	agenttest.Eventually(t, "the reload", func() bool { return reloads(a, "reloaded") == 1 })
	lives(t, exec.Command("/bin/echo", words[0]), words[0]+"\n")
	dies(t, exec.Command("/bin/echo", words[1]))
}

func TestABadFileIsRefusedAsAWholeAndTheOldRulesStay(t *testing.T) {
	t.Parallel()
	word, second := agenttest.NewWord(), agenttest.NewWord()
	a := start(t, agenttest.Rules{Strings: []string{word}})
	write(t, a.Rules, "bannedCommandStrings: ["+second+", '']\n")
	l := a.Line(t, "that the reload was refused", func(l agenttest.Line) bool { return strings.HasPrefix(l.Msg, "reload refused") })
	if l.Level != "ERROR" || !strings.Contains(l.Err, a.Rules+":1: bannedCommandStrings[1]: empty string") {
		t.Errorf("%s", l.Raw)
	}
	dies(t, exec.Command("/bin/echo", word))
	lives(t, exec.Command("/bin/echo", second), second+"\n")
	if v := a.Metrics(t)["cryptnono_config_reload_success"]; v != 0 {
		t.Errorf("the metric says %v", v)
	}
	time.Sleep(2 * time.Second)
	if n := reloads(a, "reload refused"); n != 1 {
		t.Errorf("logged %d times", n)
	}

	write(t, a.Rules, "bannedCommandStrings: ["+second+"]\n")
	agenttest.Eventually(t, "the reload", func() bool { return reloads(a, "reloaded") == 1 })
	dies(t, exec.Command("/bin/echo", second))
	if v := a.Metrics(t)["cryptnono_config_reload_success"]; v != 1 {
		t.Errorf("the metric says %v", v)
	}
}

func TestRisksAreLoggedAtStartAndAtEachReload(t *testing.T) {
	t.Parallel()
	word := agenttest.NewWord()
	a := start(t, agenttest.Rules{Strings: []string{word}}) // without scans
	logged := func(text string) int {
		return len(a.Lines(func(l agenttest.Line) bool {
			return l.Level == "WARN" && l.Msg == "unsafe setting or rule" && strings.Contains(l.Raw, text)
		}))
	}
	if n := logged("scanInterval"); n != 1 {
		t.Errorf("the scans are logged %d times at start", n)
	}
	write(t, a.Rules, "bannedCommandStrings: ["+word+", xyz]\n")
	agenttest.Eventually(t, "the reload", func() bool { return reloads(a, "reloaded") == 1 })
	if n, m := logged("scanInterval"), logged(a.Rules+":1: bannedCommandStrings[1]"); n != 2 || m != 1 {
		t.Errorf("the scans are logged %d times, the ban %d times", n, m)
	}

	// A ban that would kill the node is refused.
	write(t, a.Rules, "bannedCommandStrings: ["+word+"]\nbannedPrograms: [kubelet]\n")
	l := a.Line(t, "that the reload was refused", func(l agenttest.Line) bool { return strings.HasPrefix(l.Msg, "reload refused") })
	if !strings.Contains(l.Err, a.Rules+`:2: bannedPrograms[0]: "kubelet" would kill kubelet`) {
		t.Errorf("%s", l.Raw)
	}
	dies(t, exec.Command("/bin/echo", word))
}

func TestSettingsTakeEffectWithoutARestart(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	word := agenttest.NewWord()
	rules := agenttest.WriteJSON(t, "rules.json", agenttest.Rules{Strings: []string{word}})
	settings := filepath.Join(t.TempDir(), "settings.yaml")
	common := "rules: [" + rules + "]\nbuiltinRules: false\nscanInterval: 0\nlisten: 127.0.0.1:0\n"
	write(t, settings, common+"monero: {enabled: false}\n")
	a := start(t, agenttest.Rules{}, "--config", settings)
	loaded := func() int { return len(programs(t, a.Process.Pid)) }
	before := loaded()
	dies(t, exec.Command("/bin/echo", word))
	for i, c := range []struct{ settings, name string }{
		{"action: observe\n", "observe, and the detector monero"},
		{"exemptions: {programs: [/bin/echo]}\nmonero: {enabled: false}\n", "an exemption"},
	} {
		write(t, settings, common+c.settings)
		agenttest.Eventually(t, "the reload", func() bool { return reloads(a, "reloaded") == i+1 })
		lives(t, exec.Command("/bin/echo", word), word+"\n")
		if n := loaded(); (n > before) != (i == 0) {
			t.Errorf("%s: %d programs, %d before", c.name, n, before)
		}
	}
	write(t, settings, strings.Replace(common, "127.0.0.1:0", "127.0.0.1:1", 1))
	l := a.Line(t, "of what cannot change", func(l agenttest.Line) bool { return strings.HasPrefix(l.Msg, "reload refused") })
	if l.Err != "listen: cannot change while the agent runs, restart it" {
		t.Errorf("%s", l.Raw)
	}
}

// Rules are replaced repeatedly while banned programs are started as fast as possible. All rules
// ban them, so each must be killed and counted once.
func TestThereIsNoMomentWithoutProtectionDuringAReload(t *testing.T) {
	t.Parallel()
	word := agenttest.NewWord()
	a := start(t, agenttest.Rules{Strings: []string{word}})
	stop := make(chan struct{})
	tally := make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				tally <- n
				return
			default:
			}
			cmd := exec.Command("/bin/echo", word)
			out, _ := cmd.CombinedOutput()
			if !agenttest.Killed(cmd) || len(out) > 0 {
				t.Errorf("start %d lived and printed %q", n, out)
			}
			n++
		}
	}()
	for i := range 10 {
		write(t, a.Rules, `{"bannedCommandStrings": ["`+word+`", "`+agenttest.NewWord()+`"]}`)
		if err := a.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		agenttest.Eventually(t, "the reload", func() bool { return reloads(a, "reloaded") > i })
	}
	close(stop)
	started := <-tally
	if n := a.Metrics(t)[`processes_killed_total{source="exec"}`]; int(n) != started {
		t.Errorf("%d were started, %v were counted as killed", started, n)
	}
	t.Logf("%d were started", started)
}
