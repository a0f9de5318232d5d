// Package packaging tests the image, the Debian package, and the service that the
// package installs.
package packaging

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// maxSize is the maximum size of a program, and of an unpacked image for one
// architecture, in bytes.
const maxSize = 25e6

const (
	version  = "v1.2.3"
	revision = "0123456789abcdef0123456789abcdef01234567"
	epoch    = "1700000000"
	created  = "2023-11-14T22:13:20Z"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	defer os.RemoveAll(work())
	return testutil.RunWithoutLeaks(m)
}

// work is a directory that is removed after all tests.
var work = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "cryptnono-packaging")
	if err != nil {
		panic(err)
	}
	return dir
})

// A result is the output of one build.
type result struct {
	bin string // the directory of it
	err error
	log string
}

// build builds image and packages in a copy of the sources without git history, as
// from a source archive, in an environment with these variables.
func build(name string, env ...string) result {
	dir := filepath.Join(work(), name)
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", `
		umask "$UMASK"
		mkdir "$DIR"
		git -C ../.. ls-files -z --cached --others --exclude-standard |
			(cd ../.. && xargs -0 ls -d 2>/dev/null | tar --create --files-from -) | tar --extract --directory "$DIR"
		make -C "$DIR" image deb chart-package VERSION="$VERSION"`)
	cmd.Env = append(os.Environ(), "DIR="+dir, "VERSION="+version, "REVISION="+revision, "SOURCE_DATE_EPOCH="+epoch)
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	return result{filepath.Join(dir, "bin"), err, string(out)}
}

var (
	first = sync.OnceValue(func() result { return build("first", "UMASK=022") })
	// With temporary files on another file system, where directories have other sizes, and for
	// processors that not everybody has.
	second = sync.OnceValue(func() result {
		return build("second", "UMASK=077", "TZ=Asia/Tokyo", "TMPDIR=/dev/shm", "GOAMD64=v3", "GOARM64=v8.1", "GOEXPERIMENT=nogreenteagc")
	})
)

// built returns the directory with the output of `make image deb`.
func built(t *testing.T, build func() result) string {
	t.Helper()
	testutil.Privileged(t)
	r := build()
	if r.err != nil {
		t.Fatalf("building: %v\n%s", r.err, r.log)
	}
	return r.bin
}

// output runs a program, which must succeed, and returns its output.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestTheSameSourcesGiveTheSameBytes(t *testing.T) {
	testutil.Privileged(t)
	go second() // beside the first
	a, b := built(t, first), built(t, second)
	files, err := filepath.Glob(filepath.Join(a, "*"))
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.IsDir() {
			continue
		}
		if name := filepath.Base(file); !bytes.Equal(read(t, file), read(t, filepath.Join(b, name))) {
			t.Errorf("%s differs", name)
		}
	}
}

func TestProgramsAreSmall(t *testing.T) {
	bin := built(t, first)
	for _, arch := range []string{"amd64", "arm64"} {
		info, err := os.Stat(filepath.Join(bin, "cryptnono-linux-"+arch))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("cryptnono for %s: %d bytes", arch, info.Size())
		if info.Size() > maxSize {
			t.Errorf("cryptnono for %s has %d bytes, more than %d", arch, info.Size(), int(maxSize))
		}
	}
}

func TestTheVersionIsInTheProgram(t *testing.T) {
	out := output(t, filepath.Join(built(t, first), "cryptnono-linux-"+runtime.GOARCH), "version")
	if out != "cryptnono "+version+"\n" {
		t.Errorf("got %q", out)
	}
}
