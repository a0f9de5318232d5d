package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An image is a kernel that can be booted.
type image struct {
	kernel
	file    string
	release string
	note    string // a remark about its origin, "" for none
}

// retries is the number of older packages that are tried if the newest is no longer in the archive.
const retries = 4

// fetch returns the newest available kernel of its line: from the archive, or a copy from an earlier
// run. It returns an error if there is none.
func (k kernel) fetch(ctx context.Context, cache string) (image, error) {
	dir := filepath.Join(cache, "kernels", k.Arch, k.Name)
	img, err := k.download(ctx, cache, dir)
	if err == nil {
		return img, nil
	}
	kept, readErr := os.ReadFile(filepath.Join(dir, "release"))
	if readErr != nil {
		return image{}, err
	}
	return image{
		kernel: k, file: filepath.Join(dir, "vmlinuz"), release: string(kept),
		note: fmt.Sprintf("a copy from an earlier run, because: %v", err),
	}, nil
}

func (k kernel) download(ctx context.Context, cache, dir string) (image, error) {
	s, err := openSuite(ctx, cache, k.Suite, k.Arch)
	if err != nil {
		return image{}, err
	}
	names, err := s.packages(ctx, "linux-")
	if err != nil {
		return image{}, err
	}
	releases := k.releases(names)
	if len(releases) == 0 {
		return image{}, fmt.Errorf("%s has no kernel %s for %s", k.Suite, k.Name, k.Arch)
	}
	var gone []error
	for i, release := range releases[:min(len(releases), retries)] {
		img := image{kernel: k, file: filepath.Join(dir, "vmlinuz"), release: release}
		if i > 0 {
			img.note = fmt.Sprintf("not the newest: %d newer cannot be downloaded any more", i)
		}
		if kept, err := os.ReadFile(filepath.Join(dir, "release")); err == nil && string(kept) == release {
			return img, nil
		}
		err := k.unpack(ctx, s, names, release, dir)
		if err == nil {
			return img, nil
		}
		if !errors.Is(err, errGone) {
			return image{}, err
		}
		gone = append(gone, err)
	}
	return image{}, errors.Join(gone...)
}

// unpack writes the kernel and the name of its release to dir.
func (k kernel) unpack(ctx context.Context, s *suite, names []string, release, dir string) error {
	all, err := os.MkdirTemp(filepath.Dir(s.dir), "unpacked")
	if err != nil {
		return err
	}
	defer os.RemoveAll(all)
	// Since 6.19 linux-image is empty, and linux-binary has the kernel.
	name := "linux-image-" + release
	if binary := "linux-binary-" + release; slices.Contains(names, binary) {
		name = binary
	}
	if err := s.unpack(ctx, all, name); err != nil {
		return err
	}
	// boot/vmlinuz-RELEASE, or since 7.2 usr/lib/modules/RELEASE/vmlinuz; on arm64 sometimes
	// vmlinux.
	found := ""
	err = filepath.WalkDir(all, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && regexp.MustCompile(`^vmlinu[xz](-|$)`).MatchString(e.Name()) {
			found = path
		}
		return err
	})
	if err != nil {
		return err
	}
	if found == "" {
		return fmt.Errorf("package %s has no kernel in it", name)
	}
	text, err := os.ReadFile(found)
	if err != nil {
		return err
	}
	return errors.Join(
		os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "vmlinuz"), text, 0o644),
		os.WriteFile(filepath.Join(dir, "release"), []byte(release), 0o644),
	)
}

// releases returns the releases of the kernel's line among package names, the newest
// first. It uses only cloud kernels, which differ only in having fewer drivers.
func (k kernel) releases(names []string) []string {
	var found []string
	for _, name := range names {
		release, ok := strings.CutPrefix(name, "linux-image-")
		if ok && strings.HasPrefix(release, k.Prefix) && release[0] >= '0' && release[0] <= '9' &&
			strings.HasSuffix(release, "-cloud-"+k.Arch) && strings.Count(release, ".") >= 2 {
			found = append(found, release)
		}
	}
	slices.SortFunc(found, func(a, b string) int { return slices.Compare(numbers(b), numbers(a)) })
	return found
}

// numbers returns the numbers in a release, for sorting.
func numbers(release string) []int {
	var all []int
	release, _, _ = strings.Cut(release, "-cloud-")
	for _, digits := range regexp.MustCompile(`\d+`).FindAllString(release, -1) {
		n, err := strconv.Atoi(digits)
		if err == nil {
			all = append(all, n)
		}
	}
	return all
}
