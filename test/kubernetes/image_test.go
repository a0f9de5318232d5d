package kubernetes

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Images of the test's own, as pods name them.
const (
	pauseImage    = "localhost/pause:test"
	strangerImage = "localhost/stranger:test"
	minerImage    = "localhost/miner:test"
)

// agentImage builds the image of the agent, with the chart's version, under which the
// chart asks for it.
var agentImage = sync.OnceValues(func() (string, error) {
	chart, err := os.ReadFile("../../charts/cryptnono/Chart.yaml")
	if err != nil {
		return "", err
	}
	_, version, _ := strings.Cut(string(chart), "\nappVersion:")
	version, _, _ = strings.Cut(version, "\n")
	cmd := exec.Command("make", "-C", "../..", "image", "ARCHS="+runtime.GOARCH, "VERSION="+strings.Trim(version, ` "`))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return "../../bin/cryptnono-image.tar", nil
})

// importImages makes the images and gives them to containerd. Some of it is built
// while the cluster starts.
func (n *node) importImages(t *testing.T) {
	t.Helper()
	agent, err := agentImage()
	if err != nil {
		t.Fatal(err)
	}
	archives := []string{agent}
	for image, program := range map[string]string{
		pauseImage:    compile(t, "victims/pause.c"),
		strangerImage: compile(t, "victims/stranger.c"),
		minerImage:    compile(t, "victims/randomx_miner.c", "-lrandomx", "-lstdc++", "-lm"),
	} {
		archives = append(archives, ociArchive(t, image, program))
	}
	for _, archive := range archives {
		n.run(t, "ctr", "--namespace=k8s.io", "images", "import", archive)
	}
}

// compile makes a static program.
func compile(t *testing.T, source string, libraries ...string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(source), ".c"))
	output(t, "cc", append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-static", "-pthread", "-o", program,
		filepath.Join("..", source)}, libraries...)...)
	return program
}

// ociArchive makes an image that has one program and nothing else, and returns the
// archive with it.
func ociArchive(t *testing.T, image, program string) string {
	t.Helper()
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	files := tar.NewWriter(&archive)
	blob := func(mediaType string, content []byte) map[string]any {
		digest := fmt.Sprintf("%x", sha256.Sum256(content))
		add(t, files, "blobs/sha256/"+digest, 0o644, content)
		return map[string]any{"mediaType": "application/vnd.oci.image." + mediaType, "digest": "sha256:" + digest, "size": len(content)}
	}
	var layer bytes.Buffer
	root := tar.NewWriter(&layer)
	add(t, root, filepath.Base(program), 0o755, content)
	closeTar(t, root)
	layerBlob := blob("layer.v1.tar", layer.Bytes())
	config := blob("config.v1+json", encode(t, map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/" + filepath.Base(program)}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []any{layerBlob["digest"]}},
	}))
	manifest := blob("manifest.v1+json", encode(t, map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": config, "layers": []any{layerBlob},
	}))
	manifest["annotations"] = map[string]string{"io.containerd.image.name": image}
	add(t, files, "index.json", 0o644, encode(t, map[string]any{"schemaVersion": 2, "manifests": []any{manifest}}))
	add(t, files, "oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`))
	closeTar(t, files)
	file := program + ".tar"
	if err := os.WriteFile(file, archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func add(t *testing.T, files *tar.Writer, name string, mode int64, content []byte) {
	t.Helper()
	if err := files.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Write(content); err != nil {
		t.Fatal(err)
	}
}

func closeTar(t *testing.T, files *tar.Writer) {
	t.Helper()
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
