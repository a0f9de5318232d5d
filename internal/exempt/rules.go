package exempt

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/cryptnono/cryptnono/internal/process"
)

// maxProgram is PROGRAM_PATH in bpf/exempt.h without the NUL.
const maxProgram = 255

// Rules define which processes are never killed: those that match any of them. Package config
// validates them. The zero value exempts no process.
type Rules struct {
	// Namespaces are names of Kubernetes namespaces.
	Namespaces []string
	// PodLabels are "KEY=VALUE", or "KEY" for any value.
	PodLabels []string
	// Cgroups are patterns of path.Match. A pattern exempts the cgroups whose whole path it
	// matches, and all cgroups below them. It is not matched against cgroups below that of a
	// container, because processes in the container can name them.
	Cgroups []string
	// Programs are absolute paths of at most 255 bytes. They apply to files on the host: in
	// a container any program can have such a path. Where the file cannot be looked up, the path
	// itself stays exempt. A file that was exempt before stays so only while the file system does not answer.
	Programs []string
	// NodeRoot exempts root on the node from bans that spare it (rules.NodeRoot).
	NodeRoot bool
}

// nodeRoot reports whether a process is root on the node, outside of containers.
func (r *Rules) nodeRoot(p process.Event) bool {
	return r.NodeRoot && p.RootOnHost && !p.Cgroup.Container.Contained()
}

// byCgroup reports whether exemptions depend on the cgroup of a process.
func (r *Rules) byCgroup() bool { return r.byPod() || len(r.Cgroups) > 0 || r.NodeRoot }

// byPod reports whether exemptions depend on the pod of a process.
func (r *Rules) byPod() bool { return len(r.Namespaces)+len(r.PodLabels) > 0 }

// CheckNamespace returns an error if name is not a valid name of a namespace (RFC 1123).
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

// CheckCgroup returns an error if pattern is not a valid pattern of an absolute path.
func CheckCgroup(pattern string) error {
	if !strings.HasPrefix(pattern, "/") {
		return fmt.Errorf("%q does not begin with /", pattern)
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return fmt.Errorf("%q: %w", pattern, err)
	}
	return nil
}

// CheckProgram returns an error if program is not a clean absolute path.
func CheckProgram(program string) error {
	switch {
	case !path.IsAbs(program) || path.Clean(program) != program || program == "/":
		return fmt.Errorf("%q is not the absolute path of a program", program)
	case strings.ContainsAny(program, "*?["):
		return fmt.Errorf("%q: patterns are not supported, use whole paths", program)
	case len(program) > maxProgram:
		return fmt.Errorf("%d bytes long, at most %d are allowed", len(program), maxProgram)
	}
	return nil
}

// MaxPrograms is max_entries of exempt_programs in bpf/exempt.h.
const MaxPrograms = 1024
