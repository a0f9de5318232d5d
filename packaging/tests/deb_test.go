package packaging

import (
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// deb returns the path of the package for an architecture.
func deb(t *testing.T, arch string) string {
	t.Helper()
	return filepath.Join(built(t, first), "cryptnono_"+version[1:]+"_"+arch+".deb")
}

func TestTheDebianPackageSatisfiesLintian(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			out := output(t, "lintian", "--fail-on", "error,warning", "--allow-root", "--tag-display-limit", "0", deb(t, arch))
			if out != "" {
				t.Error(out)
			}
		})
	}
}

func TestTheDebianPackageHoldsTheReleasedProgram(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		pkg := deb(t, arch)
		control := output(t, "dpkg-deb", "--field", pkg, "Package", "Version", "Architecture")
		if want := "Package: cryptnono\nVersion: 1.2.3\nArchitecture: " + arch + "\n"; control != want {
			t.Errorf("got %q, want %q", control, want)
		}
		cmd := exec.Command("dpkg-deb", "--fsys-tarfile", pkg)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		headers, contents := untar(t, stdout)
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		program := read(t, filepath.Join(built(t, first), "cryptnono-linux-"+arch))
		if string(contents["./usr/bin/cryptnono"]) != string(program) {
			t.Errorf("another program than the released one for %s", arch)
		}
		for _, name := range slices.Sorted(maps.Keys(headers)) {
			if h := headers[name]; h.Uid != 0 || h.Gid != 0 || h.Mode&0o7022 != 0 {
				t.Errorf("%s is of %d:%d with mode %o", name, h.Uid, h.Gid, h.Mode)
			}
		}
	}
}

// Versions of commits must sort as the commits do.
func TestVersionsSortAsDebianSortsThem(t *testing.T) {
	built(t, first)
	script := string(read(t, "../../scripts/build-deb"))
	begin, end := strings.Index(script, "version=${1#v}"), strings.Index(script, "export SOURCE")
	if begin < 0 || end < begin {
		t.Fatal("no versions are made in build-deb any more")
	}
	var versions []string
	for _, v := range []string{"8c7bb81", "v1.0.0-rc.1", "v1.0.0", "v1.0.0-4-gabcdef0", "v1.0.1"} {
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", "epoch="+epoch+"\n"+script[begin:end]+"\necho $version", "build-deb", v)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, strings.TrimSpace(string(out)))
	}
	for i := range versions[1:] {
		if exec.Command("dpkg", "--compare-versions", versions[i], "lt", versions[i+1]).Run() != nil {
			t.Errorf("%s is not before %s", versions[i], versions[i+1])
		}
	}
	if want := "0~20231114.8c7bb81"; versions[0] != want {
		t.Errorf("got %s, want %s", versions[0], want)
	}
}

func TestTheManualNamesEveryCommand(t *testing.T) {
	page := strings.ReplaceAll(string(read(t, "../../packaging/cryptnono.8")), `\`, "")
	help := output(t, filepath.Join(built(t, first), "cryptnono-linux-"+runtime.GOARCH), "--help")
	commands := regexp.MustCompile(`(?m)^  ([a-z]+) +[A-Z]`).FindAllStringSubmatch(help, -1)
	if len(commands) < 5 {
		t.Fatalf("no commands in %s", help)
	}
	for _, c := range commands {
		if name := c[1]; name != "help" && name != "completion" && !strings.Contains(page, name) {
			t.Errorf("no word of %s", name)
		}
	}
}
