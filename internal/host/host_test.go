package host

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// The parent of the agent can be a shell in its container, or a process on the host with
// its own mount namespace.
func TestTheHostIsFoundFromEachParent(t *testing.T) {
	if os.Getenv("CRYPTNONO_TEST_HOST") != "" {
		ns, err := mounts(dir())
		fmt.Printf("host %d %v\n", ns, err)
		return
	}
	testutil.Privileged(t)
	host, err := mounts("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	init, noInit := mounts("/proc/1")
	if noInit == nil && init != host {
		t.Skip("this test is in a container")
	}
	tests := []struct{ name, command string }{
		{"started on the host", `"$0" "$1"; true`},
		{"a shell in the container", `unshare -m sh -c '"$0" "$1"; true' "$0" "$1"`},
		{"a shell in a shell in the container", `unshare -m sh -c 'sh -c "\"$0\" \"$1\"; true" "$0" "$1"; true' "$0" "$1"`},
		{"started on the host by a process in another mount namespace", `unshare -m sh -c 'nsenter -t 1 -m "$0" "$1"; true' "$0" "$1"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if noInit != nil && strings.Contains(tt.command, "nsenter") {
				t.Skip(noInit)
			}
			cmd := exec.Command("/bin/sh", "-c", tt.command, os.Args[0], "-test.run=^TestTheHostIsFoundFromEachParent$")
			cmd.Env = append(os.Environ(), "CRYPTNONO_TEST_HOST=1")
			out, err := cmd.CombinedOutput()
			if want := fmt.Sprintf("host %d <nil>\n", host); err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%v\n%swant %s", err, out, want)
			}
		})
	}
}
