package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cryptnono/cryptnono/test/kernels/job"
)

// The emulator is a script that counts its starts.
func TestAGuestThatHasPassedIsRunAgainOnlyIfSomethingHasChanged(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	starts := filepath.Join(dir, "starts")
	emulator := func(more string) {
		write("qemu-system-x86_64", "#!/bin/sh\n"+more+"echo >>"+starts+`
			echo '@event {"Kind":"begin","Step":"a"}'
			echo '@event {"Kind":"end","Step":"a"}'
			echo '@event {"Kind":"done"}'`)
	}
	emulator("")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))

	img := image{kernel: kernel{Name: "x", Arch: "amd64"}, file: write("kernel", "1")}
	files := tree{"/t/program": write("program", "1"), "/proc/": ""}
	j := job.Job{Steps: []job.Step{{Name: "a"}}}
	cmdline, good := "", true
	boots := func() bool {
		t.Helper()
		before, _ := os.ReadFile(starts)
		r := newResult()
		r.image = img
		steps, err := r.bootIfChanged(t.Context(), files, j, cmdline, filepath.Join(dir, "guest"))
		if err != nil || len(steps) != 1 || steps[0].Kind != job.End {
			t.Fatalf("%v: %+v", err, steps)
		}
		if !good {
			r.problems = []string{"bad"}
		}
		if err := r.keep(); err != nil {
			t.Fatal(err)
		}
		after, _ := os.ReadFile(starts)
		if ran := len(after) > len(before); ran == r.cached {
			t.Errorf("ran %v, cached %v", ran, r.cached)
		}
		return len(after) > len(before)
	}
	if !boots() || boots() || boots() {
		t.Error("it must be started once")
	}
	for what, change := range map[string]func(){
		"kernel":       func() { write("kernel", "2") },
		"a file":       func() { write("program", "2") },
		"its name":     func() { files = tree{"/t/other": files["/t/program"], "/proc/": ""} },
		"the job":      func() { j.Steps[0].Args = []string{"-test.v"} },
		"parameters":   func() { cmdline = "lockdown=integrity" },
		"the emulator": func() { emulator(":; ") },
	} {
		if change(); !boots() || boots() {
			t.Errorf("%s has changed: it must be started once", what)
		}
	}
	write("kernel", "3")
	good = false
	for range 2 {
		if !boots() {
			t.Error("one that has not passed must be started each time")
		}
	}
}
