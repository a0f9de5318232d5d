package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// supervise passes a SIGHUP on at once, and systemd does so after a reload: also to an agent that reads its rules
// for the first time.
func TestSIGHUPDoesNotEndAnAgentThatStarts(t *testing.T) {
	dir := t.TempDir()
	settings := filepath.Join(dir, "config.yaml")
	for name, text := range map[string]string{
		"config.yaml": "onBadRules: stop\nrules: [rules.yaml]\n",
		// It takes long to read, and its end has the agent end.
		"rules.yaml": "bannedCommandStrings:\n" + strings.Repeat("- some text of a rule\n", 20_000) + "- ''\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	opened := os.NewFile(uintptr(fd), "inotify")
	defer opened.Close()
	if _, err := unix.InotifyAddWatch(fd, settings, unix.IN_CLOSE_NOWRITE); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := &exec.Cmd{Path: program, Args: []string{"cryptnono", "run", "--config", settings}, Stderr: &stderr}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := opened.Read(make([]byte, 4096)); err != nil { // the settings are read, and next the rules
		t.Error(err)
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != exitUsage || !strings.Contains(stderr.String(), "empty string") {
		t.Errorf("%s: %s", cmd.ProcessState, &stderr)
	}
}
