package exempt

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// The program of a script that was started before the agent is the interpreter. Any user can
// run another program with the path of an exempt script as an argument.
func TestAScriptOlderThanTheAgentIsExemptIfItsInterpreterRuns(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const body = "\necho ready\nread line\n"
	script, byEnv := write("script", "#!/bin/sh -e"+body), write("by-env", "#!/usr/bin/env -S A=b sh"+body)
	other, none, empty := write("other", "#!/bin/bash"+body), write("none", "#/bin/sh"+body), write("empty", "#!"+body)
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	all := []string{script, byEnv, other, none, empty, fifo, "/nowhere"}
	g := mustLoad(t, Rules{Programs: all}, nil)
	cmd := exec.Command("/bin/sh", "-c", "echo ready; read line")
	defer testutil.Answering(t, cmd, "")()
	p, err := g.Locate(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		by, err := g.Find(t.Context(), p, "/bin/elsewhere", "-e", file)
		if err != nil {
			t.Fatal(err)
		}
		if want := file == script || file == byEnv; (by == "program "+file) != want {
			t.Errorf("%s: %q", file, by)
		}
	}
	if by, err := g.Find(t.Context(), p, "/bin/elsewhere", filepath.Join(dir, "not-exempt")); by != "" || err != nil {
		t.Errorf("%q, %v", by, err)
	}
	p.HostRoot = false
	if by, err := g.Find(t.Context(), p, "/bin/elsewhere", script); by != "" || err != nil {
		t.Errorf("in another root directory: %q, %v", by, err)
	}
}
