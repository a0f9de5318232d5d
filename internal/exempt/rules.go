package exempt

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// maxProgram is PROGRAM_PATH in bpf/exempt.h, less the NUL.
const maxProgram = 255

// Rules say which processes are never killed. One that matches is enough. Package config
// checks them; the zero value exempts nobody.
type Rules struct {
	// Namespaces are those of Kubernetes, by their exact names.
	Namespaces []string
	// PodLabels are "KEY=VALUE", or "KEY" for any value.
	PodLabels []string
	// Cgroups are patterns of path.Match. One exempts the cgroup whose whole path
	// it matches and all below it. Cgroups below a container's own are not compared:
	// processes in the container can name them.
	Cgroups []string
	// Programs are absolute paths, of 255 bytes at most. They hold for processes
	// in the host's mount namespace: in a container anything may have such a path.
	Programs []string
}

// byCgroup reports whether it matters which cgroup a process is in.
func (r *Rules) byCgroup() bool { return r.byPod() || len(r.Cgroups) > 0 }

// byPod reports whether it matters which pod a process is in.
func (r *Rules) byPod() bool { return len(r.Namespaces)+len(r.PodLabels) > 0 }

// CheckNamespace returns an error if no namespace can have that name (RFC 1123).
func CheckNamespace(name string) error {
	if len(name) > 63 || !regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`).MatchString(name) {
		return fmt.Errorf("%q is not the name of a Kubernetes namespace", name)
	}
	return nil
}

// CheckLabel returns an error if label is neither KEY nor KEY=VALUE.
func CheckLabel(label string) error {
	key, _, _ := strings.Cut(label, "=")
	if !regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9_./]*$`).MatchString(key) {
		return fmt.Errorf("%q is not a label: write KEY=VALUE, or KEY for any value", label)
	}
	return nil
}

// CheckCgroup returns an error if pattern cannot match any path.
func CheckCgroup(pattern string) error {
	if !strings.HasPrefix(pattern, "/") {
		return fmt.Errorf("%q does not begin with /", pattern)
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return fmt.Errorf("%q: %w", pattern, err)
	}
	return nil
}

// CheckProgram returns an error if program is no path that is executed as it is.
func CheckProgram(program string) error {
	switch {
	case !path.IsAbs(program) || path.Clean(program) != program || program == "/":
		return fmt.Errorf("%q is not the absolute path of a program", program)
	case strings.ContainsAny(program, "*?["):
		return fmt.Errorf("%q: patterns are not known here, give whole paths", program)
	case len(program) > maxProgram:
		return fmt.Errorf("%d bytes long, at most %d are allowed", len(program), maxProgram)
	}
	return nil
}

// MaxPrograms is max_entries of exempt_programs in bpf/exempt.h.
const MaxPrograms = 1024
