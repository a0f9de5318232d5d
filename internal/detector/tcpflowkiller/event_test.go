package tcpflowkiller

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// Arguments are logged as by all detectors: without secrets, the end of argv[0] is visible, and so is how much
// is missing.
func TestAConnectionIsLoggedWithoutSecrets(t *testing.T) {
	for _, c := range []struct {
		name, args string
		total      int // 0 for those of args
		want       string
	}{
		{"options and URLs", "curl\x00--password=hunter2\x00https://tok:pw@h/\x00", 0, "curl --password=*** https://***@h/"},
		{"a space in argv[0]", "my curl\x00x\x00", 0, `my\x20curl x`},
		{"more than the kernel notes", "curl\x00" + strings.Repeat("x", 490) + "\x00https://tok:secr", 600, "curl " + strings.Repeat("x", 490) + " https://***…(+88 bytes)"},
		{"none that could be read", "", 600, ""},
	} {
		var raw bpfEvent
		raw.ArgsLen = uint32(copy(raw.Args[:], c.args))
		raw.ArgsTotal = uint32(max(c.total, len(c.args)))
		record := unsafe.Slice((*byte)(unsafe.Pointer(&raw)), unsafe.Sizeof(raw))
		e, err := decodeEvent(record, cgroup.Parser{})
		if err != nil {
			t.Fatal(err)
		}
		if l := e.line(&policy{}); l.Cmdline != c.want {
			t.Errorf("%s: %s", c.name, l.Cmdline)
		}
	}
}

// So too what the kernel notes of a process that it kills.
func TestWhatIsKilledIsLoggedWithoutSecrets(t *testing.T) {
	b := newBed(t, bedOptions{})
	s := newSink(t, "tcp4", "127.0.0.1:0")
	args := []string{"--password=hunter2", strings.Repeat("x", 1000)}
	cmd, _ := b.start(order{Address: s.Addr().String(), Sends: sends(login), Args: args, Stay: testutil.Patience(5 * time.Second)})
	if signal, _ := ended(cmd); signal != syscall.SIGKILL {
		t.Errorf("killed by %v", signal)
	}
	area := strings.Join(append([]string{cmd.Path}, args...), "\x00") + "\x00"
	missing := fmt.Sprintf("…(+%d bytes)", len(area)-len(bpfEvent{}.Args))
	line := b.line(cmd.Process.Pid)["cmdline"].(string)
	if !strings.Contains(line, " --password=*** xxx") || !strings.HasSuffix(line, missing) || strings.Contains(line, "hunter2") {
		t.Errorf("%s, not %s", line, missing)
	}
}
