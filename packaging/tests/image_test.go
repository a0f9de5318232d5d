package packaging

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A descriptor is the reference from one file of an OCI image to another.
type descriptor struct {
	Digest   string
	Size     int64
	Platform struct{ OS, Architecture string }
}

// An image is the image in the archive for one architecture.
type image struct {
	Created      string
	Architecture string
	OS           string
	Config       struct {
		User       string
		Entrypoint []string
		Cmd        []string
		Env        []string
		Labels     map[string]string
	}
	files map[string]*tar.Header
	text  map[string][]byte
	size  int64 // as it lies on a node
	moved int64 // as it goes over the network
}

// archive has what images returns.
var archive struct {
	sync.Once
	images map[string]image
}

// images reads the archive, by architecture. All tests share what it returns.
func images(t *testing.T) map[string]image {
	t.Helper()
	testutil.Privileged(t)
	archive.Do(func() { archive.images = readImages(t) })
	if archive.images == nil {
		t.Fatal("the archive was not read")
	}
	return archive.images
}

func readImages(t *testing.T) map[string]image {
	t.Helper()
	_, blobs := untar(t, bytes.NewReader(read(t, filepath.Join(built(t, first), "cryptnono-image.tar"))))
	blob := func(d descriptor) []byte { return blobs["blobs/sha256/"+d.Digest[len("sha256:"):]] }
	var index, list struct{ Manifests []descriptor }
	decode(t, blobs["index.json"], &index)
	if len(index.Manifests) != 1 {
		t.Fatalf("%d images in the archive, want one for all architectures", len(index.Manifests))
	}
	decode(t, blob(index.Manifests[0]), &list)
	found := make(map[string]image)
	for _, d := range list.Manifests {
		var manifest struct {
			Config descriptor
			Layers []descriptor
		}
		decode(t, blob(d), &manifest)
		var i image
		decode(t, blob(manifest.Config), &i)
		if i.OS != "linux" || d.Platform.OS != "linux" || i.Architecture != d.Platform.Architecture {
			t.Errorf("an image for %s/%s is listed as %+v", i.OS, i.Architecture, d.Platform)
		}
		if len(manifest.Layers) != 1 {
			t.Fatalf("%d layers, want one", len(manifest.Layers))
		}
		layer, err := gzip.NewReader(bytes.NewReader(blob(manifest.Layers[0])))
		if err != nil {
			t.Fatal(err)
		}
		i.files, i.text = untar(t, layer)
		for _, h := range i.files {
			i.size += h.Size
		}
		i.moved = manifest.Layers[0].Size
		found[i.Architecture] = i
	}
	return found
}

// untar reads an archive, by path.
func untar(t *testing.T, from io.Reader) (headers map[string]*tar.Header, contents map[string][]byte) {
	t.Helper()
	headers, contents = make(map[string]*tar.Header), make(map[string][]byte)
	for r := tar.NewReader(from); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return headers, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		headers[h.Name], contents[h.Name] = h, content
	}
}

func decode(t *testing.T, text []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

func TestTheImageIsForBothArchitectures(t *testing.T) {
	if got := slices.Sorted(maps.Keys(images(t))); !slices.Equal(got, []string{"amd64", "arm64"}) {
		t.Errorf("got %v", got)
	}
}

func TestTheImageSaysWhatItIs(t *testing.T) {
	for arch, i := range images(t) {
		c := i.Config
		if c.User != "0:0" || !slices.Equal(c.Entrypoint, []string{"/cryptnono"}) || !slices.Equal(c.Cmd, []string{"run"}) {
			t.Errorf("%s: user %q runs %q %q", arch, c.User, c.Entrypoint, c.Cmd)
		}
		if !slices.Equal(c.Env, []string{"PATH=/"}) {
			t.Errorf("%s: environment %q, and `cryptnono doctor` needs a path", arch, c.Env)
		}
		if i.Created != created {
			t.Errorf("%s: created %s, want the time of the commit, %s", arch, i.Created, created)
		}
		for name, want := range map[string]string{
			"title":         "cryptnono",
			"description":   "Stops cryptocurrency miners on Linux machines where strangers may run code",
			"version":       version,
			"revision":      revision,
			"created":       created,
			"licenses":      "GPL-3.0-or-later",
			"source":        "https://github.com/cryptnono/cryptnono",
			"url":           "https://github.com/cryptnono/cryptnono",
			"documentation": "https://github.com/cryptnono/cryptnono/blob/main/docs/install.md",
			"vendor":        "The cryptnono authors",
		} {
			if got := c.Labels["org.opencontainers.image."+name]; got != want {
				t.Errorf("%s: label %s is %q, want %q", arch, name, got, want)
			}
			delete(c.Labels, "org.opencontainers.image."+name)
		}
		if len(c.Labels) > 0 {
			t.Errorf("%s: more labels: %v", arch, c.Labels)
		}
	}
}

// programs are the programs in the image.
func programs(t *testing.T) []string {
	t.Helper()
	dirs, err := os.ReadDir("../../cmd")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range dirs {
		names = append(names, d.Name())
	}
	return names
}

func TestTheImageContainsOnlyThePrograms(t *testing.T) {
	const doc = "usr/share/doc/cryptnono/"
	want := []string{doc + "LICENSE"}
	for _, p := range programs(t) {
		want = append(want, p, doc+p+".cdx.json")
	}
	slices.Sort(want)
	for arch, i := range images(t) {
		var got []string
		for name, h := range i.files {
			if h.Uid != 0 || h.Gid != 0 || h.Mode&0o7022 != 0 {
				t.Errorf("%s: %s is of %d:%d with mode %o", arch, name, h.Uid, h.Gid, h.Mode)
			}
			if h.Typeflag != tar.TypeDir {
				got = append(got, name)
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", arch, got, want)
		}
		t.Logf("%s: %d bytes, %d compressed", arch, i.size, i.moved)
		if i.size > maxSize {
			t.Errorf("%s: %d bytes, more than %d", arch, i.size, int(maxSize))
		}
	}
}

func TestProgramsInTheImageAreStatic(t *testing.T) {
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	for arch, i := range images(t) {
		for _, name := range programs(t) {
			program, err := elf.NewFile(bytes.NewReader(i.text[name]))
			if err != nil {
				t.Fatalf("%s for %s: %v", name, arch, err)
			}
			if program.Machine != machines[arch] {
				t.Errorf("%s for %s is for %v", name, arch, program.Machine)
			}
			for _, p := range program.Progs {
				if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
					t.Errorf("%s for %s needs a dynamic linker", name, arch)
				}
			}
		}
	}
}

func TestTheSBOMNamesEveryModule(t *testing.T) {
	for arch, i := range images(t) {
		for _, name := range programs(t) {
			info, err := buildinfo.Read(bytes.NewReader(i.text[name]))
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"std@" + info.GoVersion[len("go"):]}
			for _, m := range info.Deps {
				want = append(want, m.Path+"@"+m.Version)
			}
			var bom struct {
				BomFormat  string
				Metadata   struct{ Component struct{ Version string } }
				Components []struct{ Name, Version, Purl string }
			}
			decode(t, i.text["usr/share/doc/cryptnono/"+name+".cdx.json"], &bom)
			var got []string
			for _, c := range bom.Components {
				got = append(got, c.Name+"@"+trimGo(c.Version))
				if !bytes.Contains([]byte(c.Purl), []byte("goarch="+arch)) && c.Name != "std" {
					t.Errorf("%s for %s: %s is not of this architecture", name, arch, c.Purl)
				}
			}
			slices.Sort(want)
			if slices.Sort(got); bom.BomFormat != "CycloneDX" || bom.Metadata.Component.Version != version || !slices.Equal(got, want) {
				t.Errorf("%s for %s: %s of version %s names\n%v, want\n%v", name, arch, bom.BomFormat, bom.Metadata.Component.Version, got, want)
			}
		}
	}
}

// trimGo returns 1.26.0 for go1.26.0: both forms are in use.
func trimGo(version string) string {
	if len(version) > 2 && version[:2] == "go" {
		return version[2:]
	}
	return version
}
