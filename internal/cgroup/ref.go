package cgroup

import (
	"path"
	"strings"
)

// A ContainerRef names the container that a cgroup belongs to, as far as its path
// tells. Without an ID there is none.
type ContainerRef struct {
	// ID is the outermost container's, as its runtime knows it: nearly always
	// 64 hexadecimal digits.
	ID     string
	PodUID string // as Kubernetes writes it, with dashes; "" outside of Kubernetes
	// Level is the index of the container's own cgroup among the names of the
	// path: 0 is the first below the root. Without a container it is that of a cgroup
	// below which there are no containers, because users can name what is there; -1 if
	// there is no such cgroup.
	Level int
	// Nested is the id of a container inside of that one, "" for none. It is a claim:
	// processes in the outer container can choose the names of cgroups there.
	Nested string
}

// Contained reports whether there is a container.
func (r ContainerRef) Contained() bool { return r.ID != "" }

const (
	// maxPathBytes is how much of a path is parsed.
	maxPathBytes = 4096
	// maxIDBytes is the longest id that containerd takes.
	maxIDBytes = 76
)

// A Parser finds containers in the paths of cgroups. The zero value is for a node that is
// no container itself. It may be used by many goroutines at once.
type Parser struct {
	root string // without a slash at its end
}

// NewParser returns a parser for a node whose own cgroup is root: "" or "/", unless the
// node is a container, as the nodes of kind are. Cgroups that are not below root do not
// belong to the node.
func NewParser(root string) Parser { return Parser{strings.TrimRight(root, "/")} }

// Parse finds the container in the path of a cgroup, as seen from the root of the
// host's hierarchy. Level counts from that root. Parse takes time and memory in proportion
// to the path, of which it looks at 4096 bytes.
//
// Down to the container's own cgroup, all names were chosen by programs of root: kubelet,
// runtime, systemd. Processes in the container can choose the names below it. Where users
// can make cgroups, a name is not evidence of a container.
func (p Parser) Parse(path string) ContainerRef {
	none := ContainerRef{Level: -1}
	rest, ok := strings.CutPrefix(path, p.root)
	// The top of any other path is missing, and only the top can be trusted.
	if !ok || !strings.HasPrefix(rest, "/") {
		return none
	}
	above := strings.Count(p.root, "/")
	names := strings.Split(strings.TrimSuffix(rest[1:min(len(rest), maxPathBytes)], " (deleted)"), "/")
	for i, name := range names {
		// A path that leaves its root has no top either.
		if name == "" || name == "." || name == ".." {
			return none
		}
		id, uid := containerIn(names[:i], name)
		switch {
		case id != "":
			return ContainerRef{ID: id, PodUID: uid, Level: above + i, Nested: innermost(names[i+1:])}
		case delegated(names, i):
			return ContainerRef{Level: above + i}
		}
	}
	return none
}

// innermost returns the first container among the names below another one.
func innermost(names []string) string {
	for i, name := range names {
		if id, _ := containerIn(names[:i], name); id != "" {
			return id
		}
	}
	return ""
}

// containerIn returns the id of the container whose cgroup has this name, below
// these others, and the uid of its pod; or "" if it is no container's.
func containerIn(above []string, name string) (id, uid string) {
	if uid, id := colonForm(name); id != "" {
		return id, uid
	}
	if id := idOf(name); id != "" {
		return id, podUID(above)
	}
	if len(above) == 0 {
		return "", ""
	}
	parent := above[len(above)-1]
	// The namespaces of containerd and the workers of BuildKit, whose ids are
	// any text.
	ours := parent == "buildkit" || parent == "buildx" || len(above) == 1 && (parent == "default" || parent == "k8s.io")
	if ours && validID(name) {
		return name, ""
	}
	return "", ""
}

// idOf returns the id in a name that runtimes give to the cgroup of a container:
// the bare id, or PREFIX-ID, with ".scope" if systemd made it.
func idOf(name string) string {
	name = strings.TrimSuffix(name, ".scope")
	if isFullID(name) {
		return name
	}
	for _, prefix := range []string{
		"cri-containerd-", "crio-", "docker-", "libpod-", "libpod-payload-", "nerdctl-", "kata_",
	} {
		// crio-conmon-ID and libpod-conmon-ID are of the runtime's own helper.
		if id, ok := strings.CutPrefix(name, prefix); ok && isFullID(id) {
			return id
		}
	}
	return ""
}

// colonForm takes apart SLICE:PREFIX:ID, which a runtime that does not use
// systemd makes of a path for systemd, as one directory.
func colonForm(name string) (uid, id string) {
	slice, rest, ok := strings.Cut(name, ":")
	if !ok {
		return "", ""
	}
	prefix, id, _ := strings.Cut(rest, ":")
	switch prefix {
	case "cri-containerd", "crio", "docker", "nerdctl":
	default:
		return "", ""
	}
	if !isFullID(id) {
		return "", ""
	}
	return sliceUID(slice), id
}

// podUID returns the uid of the pod whose cgroup is the last of these: directly
// in the kubelet's own or in that of a class of service.
func podUID(names []string) string {
	n := len(names)
	if n < 2 {
		return ""
	}
	uid := sliceUID(names[n-1])
	if rest, ok := strings.CutPrefix(names[n-1], "pod"); ok {
		uid = validUID(rest)
	}
	if uid == "" {
		return ""
	}
	parent := names[n-2]
	class := strings.TrimSuffix(parent, ".slice")
	if i := strings.LastIndexByte(class, '-'); i >= 0 && class != parent {
		class = class[i+1:]
	}
	switch class {
	case "burstable", "besteffort", "guaranteed":
		if n < 3 {
			return ""
		}
		parent = names[n-3]
	}
	if parent == "kubepods" || parent == "kubepods.slice" || strings.HasSuffix(parent, "-kubepods.slice") {
		return uid
	}
	return ""
}

// sliceUID returns the uid in the name of a pod's slice,
// kubepods-burstable-podUID.slice, where underscores stand for dashes.
func sliceUID(name string) string {
	name, ok := strings.CutSuffix(name, ".slice")
	if !ok || !strings.Contains(name, "kubepods-") {
		return ""
	}
	i := strings.LastIndex(name, "-pod")
	if i < 0 {
		return ""
	}
	return validUID(strings.ReplaceAll(name[i+len("-pod"):], "_", "-"))
}

// validUID returns uid if it may be one of a pod: a UUID, the hash of a static
// pod's manifest, or what such a manifest says.
func validUID(uid string) string {
	if uid == "" || len(uid) > 64 {
		return ""
	}
	for _, c := range []byte(uid) {
		if !isAlphanumeric(c) && c != '-' {
			return ""
		}
	}
	return uid
}

// validID tells whether a text has the form of an id of containerd, and is not
// the name of a unit of systemd.
func validID(id string) bool {
	switch path.Ext(id) {
	case ".scope", ".slice", ".service":
		return false
	}
	for i, c := range []byte(id) {
		if !isAlphanumeric(c) && (i == 0 || c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return id != "" && len(id) <= maxIDBytes
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// isFullID reports whether s is 64 hexadecimal digits, as nearly all ids are.
func isFullID(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 64
}
