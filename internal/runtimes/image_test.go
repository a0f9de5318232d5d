package runtimes

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"runtime"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// rootfs returns a tar archive with /idle, a program that waits to be killed.
func rootfs(t *testing.T) []byte {
	t.Helper()
	program, err := os.ReadFile(testutil.BuildC(t, "test/victims/idle.c", "-static"))
	if err != nil {
		t.Fatal(err)
	}
	return archive(t, map[string][]byte{"idle": program})
}

// ociImage returns an OCI layout in a tar archive, with an image that runs /idle, and the
// image's id.
func ociImage(t *testing.T, name string) (layout []byte, id string) {
	t.Helper()
	type object = map[string]any
	layer := rootfs(t)
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	blob := func(kind string, content []byte) object {
		sum := sha256.Sum256(content)
		digest := hex.EncodeToString(sum[:])
		files["blobs/sha256/"+digest] = content
		return object{"mediaType": "application/vnd.oci.image." + kind, "digest": "sha256:" + digest, "size": len(content)}
	}
	asJSON := func(o object) []byte {
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	layerBlob := blob("layer.v1.tar", layer)
	config := blob("config.v1+json", asJSON(object{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": object{"Entrypoint": []string{"/idle"}},
		"rootfs": object{"type": "layers", "diff_ids": []any{layerBlob["digest"]}},
	}))
	manifest := blob("manifest.v1+json", asJSON(object{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": config, "layers": []any{layerBlob},
	}))
	manifest["annotations"] = object{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": "test"}
	files["index.json"] = asJSON(object{"schemaVersion": 2, "manifests": []any{manifest}})
	return archive(t, files), config["digest"].(string)
}

func archive(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, content := range files {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))})
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
