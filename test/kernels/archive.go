package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// listsAge is the age after which package lists are updated.
const listsAge = 24 * time.Hour

// A suite is a suite of Debian for one architecture. It has separate package lists, so that those
// of the machine are not changed. The archive is the one that the machine's apt uses.
type suite struct {
	dir     string // of the lists
	name    string
	arch    string
	archive string // address
}

// openSuite returns a suite with lists that are at most listsAge old, or with older ones if they
// cannot be updated.
func openSuite(ctx context.Context, cache, name, arch string) (*suite, error) {
	s := &suite{dir: filepath.Join(cache, "apt", name+"-"+arch), name: name, arch: arch}
	label := "Debian"
	if strings.HasSuffix(name, "-security") {
		label = "Debian-Security"
	}
	out, err := output(exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)",
		"Created-By: Packages", "Origin: Debian", "Label: "+label, "Component: main"))
	if err != nil {
		return nil, err
	}
	s.archive, _, _ = strings.Cut(out, "\n")
	if s.archive == "" {
		return nil, fmt.Errorf("apt on this machine has no archive labelled %s", label)
	}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	done := filepath.Join(s.dir, "updated")
	if info, err := os.Stat(done); err == nil && time.Since(info.ModTime()) < listsAge {
		return s, nil
	}
	if _, err := output(s.apt(ctx, "apt-get", "update", "-qq")); err != nil {
		if _, old := os.Stat(done); old == nil {
			return s, nil
		}
		return nil, err
	}
	return s, os.WriteFile(done, nil, 0o644)
}

func (s *suite) prepare() error {
	keys := "/usr/share/keyrings/debian-archive-keyring.gpg"
	return errors.Join(
		os.MkdirAll(filepath.Join(s.dir, "lists", "partial"), 0o755),
		os.MkdirAll(filepath.Join(s.dir, "archives", "partial"), 0o755),
		os.WriteFile(filepath.Join(s.dir, "status"), nil, 0o644),
		os.WriteFile(filepath.Join(s.dir, "sources.list"),
			fmt.Appendf(nil, "deb [signed-by=%s] %s %s main\n", keys, s.archive, s.name), 0o644),
	)
}

// apt returns a command of apt for the suite.
func (s *suite) apt(ctx context.Context, command string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, command,
		"-o", "Dir::Etc::sourcelist="+filepath.Join(s.dir, "sources.list"),
		"-o", "Dir::Etc::sourceparts=/dev/null",
		"-o", "Dir::Etc::preferences=/dev/null",
		"-o", "Dir::Etc::preferencesparts=/dev/null",
		"-o", "Dir::State="+s.dir,
		"-o", "Dir::State::lists="+filepath.Join(s.dir, "lists"),
		"-o", "Dir::State::status="+filepath.Join(s.dir, "status"),
		"-o", "Dir::Cache="+s.dir,
		"-o", "APT::Architecture="+s.arch,
		"-o", "APT::Architectures="+s.arch,
		"-o", "Acquire::Languages=none",
		"-o", "Acquire::Check-Valid-Until=false", // suites that are no longer maintained
		"-o", "Acquire::Retries=3",
		"-o", "APT::Sandbox::User=root",
	)
	cmd.Args = append(cmd.Args, args...)
	return cmd
}

// packages returns the names of the suite's packages that begin with a prefix.
func (s *suite) packages(ctx context.Context, prefix string) ([]string, error) {
	out, err := output(s.apt(ctx, "apt-cache", "pkgnames", prefix))
	return strings.Fields(out), err
}

// errGone is returned for a package that is in the list but no longer in the archive.
var errGone = errors.New("cannot be downloaded any more")

// unpack downloads packages and unpacks them into a folder.
func (s *suite) unpack(ctx context.Context, dir string, packages ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	debs, err := os.MkdirTemp(s.dir, "debs")
	if err != nil {
		return err
	}
	defer os.RemoveAll(debs)
	download := s.apt(ctx, "apt-get", append([]string{"download", "-qq"}, packages...)...)
	download.Dir = debs
	if _, err := output(download); err != nil {
		return fmt.Errorf("%s: %w: %w", strings.Join(packages, ", "), errGone, err)
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if _, err := output(exec.CommandContext(ctx, "dpkg-deb", "-x", file, dir)); err != nil {
			return err
		}
	}
	return nil
}

// output runs a command and returns its output. The error has its standard error.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(cmp.Or(stderr.String(), stdout.String()))
		return "", fmt.Errorf("running %s: %w: %s", filepath.Base(cmd.Path), err, said)
	}
	return stdout.String(), nil
}
