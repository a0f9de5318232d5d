package kubernetes

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
)

// writeImage writes an image of one layer, in the form of `docker save`, with these
// files: by their paths in the image, those on this machine, or "=TARGET" for a link.
func writeImage(file, name string, command []string, files map[string]string) error {
	dir := filepath.Dir(file)
	layer := filepath.Join(dir, filepath.Base(file)+".layer")
	defer os.Remove(layer)
	if err := writeTar(layer, func(t *tar.Writer) error {
		for to, from := range files {
			if err := add(t, to, from); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	content, err := os.ReadFile(layer)
	if err != nil {
		return err
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(content))
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{"Cmd": command},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + sum}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{sum + ".tar"}}})
	if err != nil {
		return err
	}
	return writeTar(file, func(t *tar.Writer) error {
		for _, f := range []struct {
			name    string
			content []byte
		}{{"config.json", config}, {sum + ".tar", content}, {"manifest.json", manifest}} {
			if err := t.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content))}); err != nil {
				return err
			}
			if _, err := t.Write(f.content); err != nil {
				return err
			}
		}
		return nil
	})
}

func writeTar(file string, fill func(*tar.Writer) error) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	t := tar.NewWriter(f)
	if err := fill(t); err != nil {
		return err
	}
	if err := t.Close(); err != nil {
		return err
	}
	return f.Close()
}

func add(t *tar.Writer, to, from string) error {
	if from[0] == '=' {
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: path.Clean(to)[1:], Linkname: from[1:], Mode: 0o777})
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: path.Clean(to)[1:], Mode: 0o755, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
