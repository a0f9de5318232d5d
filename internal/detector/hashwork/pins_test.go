package hashwork

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/detector/hashwork/learned"
	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// learnAtOnce starts a shell and has it learned, as if the rule program had killed it.
func (b *bed) learnAtOnce(shell string) {
	b.t.Helper()
	cmd := exec.Command(shell, "-c", "echo; read x")
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		b.t.Fatal(err)
	}
	defer in.Close()
	testutil.Start(b.t, cmd)
	defer testutil.End(cmd)
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil { // the exec goes on after Start
		b.t.Fatal(err)
	}
	program, err := b.learned.identify(cmd.Process.Pid)
	if err != nil {
		b.t.Fatal(err)
	}
	id := program.content.id
	b.learned.learn(&learnedFile{content: program.content, owner: fair.Owner{UID: 7, Cgroup: 8}, about: learned.File{
		Path: shell, Inode: id.Inode, Device: id.Device, Generation: id.Generation,
		PID: cmd.Process.Pid, UID: 7, Cgroup: "/a", Learned: time.Now().Round(time.Millisecond).UTC(),
	}})
}

// An agent ends and another one starts, of the same version or of another one.
func TestFilesOfMinersDieWhileNoAgentIsThere(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, unit string)
		hits   uint64 // of the file before it is started by the last agent
	}{
		{"the same version", func(*testing.T, string) {}, 2},
		{"another version with another layout of files", func(t *testing.T, unit string) {
			detectortest.RenameBuild(t, unit, func(*pin.State) {})
			found, err := filepath.Glob(filepath.Join(unit, learnedMapLearnedFiles+"_*"))
			if err != nil || len(found) != 1 {
				t.Fatal(found, err)
			}
			if err := os.Rename(found[0], filepath.Join(unit, learnedMapLearnedFiles+"_0123456789abcdef_map")); err != nil {
				t.Fatal(err)
			}
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			testutil.Privileged(t)
			fs := testutil.MountBPF(t)
			unit := filepath.Join(fs, "pins", Name)
			dir, err := pin.Open(t.Context(), filepath.Join(fs, "pins"), "v1", 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { dir.Close() })
			b := &bed{t: t, log: new(testutil.Buffer)}
			env := detectortest.Env(t, detectortest.Options{Log: slog.New(slog.NewJSONHandler(b.log, nil))})
			env.Pins = dir
			load := func() {
				t.Helper()
				if b.Detector, err = Load(env, learnPolicy(t, nil)); err != nil {
					t.Fatal(err)
				}
				b.learned.socket = filepath.Join(t.TempDir(), "learned.sock")
			}
			dies := func(program string) int {
				t.Helper()
				cmd := exec.Command(program, "-c", "true")
				_ = cmd.Run()
				if s := cmd.ProcessState.Sys().(syscall.WaitStatus); s.Signal() != syscall.SIGKILL {
					t.Fatalf("it ended with %v: %s", cmd.ProcessState, b.log.String())
				}
				return cmd.Process.Pid
			}
			lives := func(program string) {
				t.Helper()
				if out, err := exec.Command(program, "-c", "true").CombinedOutput(); err != nil {
					t.Errorf("%v %s", err, out)
				}
			}
			program, other := copyOf(t, "/bin/sh", t.TempDir()), copyOf(t, "/bin/sh", t.TempDir())

			load()
			for _, path := range []string{program, other} {
				b.learnAtOnce(path)
			}
			if _, err := b.learned.files.Forget(learned.Selection{Path: other}); err != nil {
				t.Fatal(err)
			}
			dies(program)
			before := b.files()[0]
			c.change(t, unit)
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			alone := dies(program)
			lives(other)

			load()
			t.Cleanup(func() {
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			})
			all := b.files()
			if len(all) != 1 || all[0].Hits != c.hits || isConsistent(t, b.learned.files) != 1 {
				t.Fatalf("the files are %+v", all)
			}
			before.Hits, before.LastHit, before.Expires = all[0].Hits, all[0].LastHit, all[0].Expires
			if all[0].Learned = all[0].Learned.UTC(); all[0] != before {
				t.Errorf("%+v has become %+v", before, all[0])
			}
			if left := time.Until(all[0].Expires); left < 23*time.Hour || left > 24*time.Hour+time.Second { // rounded
				t.Errorf("it expires in %v", left)
			}
			detectortest.Run(t, b.Detector)
			dies(program)
			lives(other)
			testutil.Eventually(t, "the line of the kill without an agent", func() bool { return len(b.lines(alone)) > 0 })
			if l := b.lines(alone)[0]; l["action"] != "killed" || l["at"] == nil || l["learned"].(map[string]any)["file"] != program {
				t.Errorf("the line is %v", l)
			}
			if log := b.log.String(); !strings.Contains(log, `"msg":"took over the protection that was pinned","detector":"hashwork"`) {
				t.Error("nothing is said of what happened meanwhile")
			}
			testutil.Eventually(t, "the removal of what the former version had", func() bool {
				builds, err := filepath.Glob(filepath.Join(unit, "????????????????"))
				maps, failed := filepath.Glob(filepath.Join(unit, "*0123456789abcdef*"))
				return errors.Join(err, failed) == nil && len(builds) == 1 && len(maps) == 0
			})
			if counts, err := b.learned.counters(); err != nil || counts.Verdicts()[verdict.Killed] != 3 {
				t.Errorf("counted %v, %v", counts, err)
			}
			if _, err := b.learned.files.Forget(learned.Selection{All: true}); err != nil {
				t.Fatal(err)
			}
			lives(program)
		})
	}
}

// What an agent that ended in the middle of a change has left, and what cannot be read.
func TestAHalfOfAFileIsRepaired(t *testing.T) {
	l := emptyFiles(t)
	about, err := ebpf.NewMap(aboutMap())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { about.Close() })
	l.about = about
	long := fileOf(1, 3)
	long.about.Path, long.about.Cgroup = "/"+strings.Repeat("<", maxPath), strings.Repeat("/x", 2000)
	for _, f := range []*learnedFile{fileOf(1, 1), fileOf(1, 2), long, fileOf(1, 4)} {
		if err := l.add(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		l.kernel.Delete(learnedFileId{Inode: 1}), // it was not stored yet
		about.Delete(learnedFileId{Inode: 2}),    // it was forgotten
		about.Put(learnedFileId{Inode: 4}, make([]byte, keptSize)),
	); err != nil {
		t.Fatal(err)
	}
	next := newLearnedFiles(l.kernel, l.count, about)
	if err := next.restore(); err != nil {
		t.Fatal(err)
	}
	if n := isConsistent(t, next); n != 2 || next.last != 3 {
		t.Errorf("%d files, the last is %d", n, next.last)
	}
	if f, ok := next.find(long.content.id, 3); !ok || !strings.HasPrefix(f.about.Path, "/<<<") || f.content != long.content || f.owner != long.owner {
		t.Errorf("%v, %+v", ok, f)
	}
}
