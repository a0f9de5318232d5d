package cgroup

import (
	"path"
	"strings"
)

// A ContainerRef is the container in the path of a cgroup. Without an ID there is none.
type ContainerRef struct {
	// ID is the id of the outermost container, usually 64 hexadecimal digits.
	ID     string
	PodUID string // in the form of Kubernetes, with dashes; "" outside of Kubernetes
	// Level is the index of the container's own cgroup in the path: 0 is the first below
	// the root. Without a container it is the index of a cgroup below which users can
	// create cgroups, so that names there are not evidence of a container; -1 if there is
	// none.
	Level int
	// Nested is the id of a container inside of that one, "" for none. Processes in the
	// outer container can fake it.
	Nested string
}

// Contained reports whether there is a container.
func (r ContainerRef) Contained() bool { return r.ID != "" }

const (
	// maxPathBytes is the part of a path that is parsed.
	maxPathBytes = 4096
	// maxIDBytes is the length of the longest id that containerd accepts.
	maxIDBytes = 76
)

// A Parser finds containers in the paths of cgroups. The zero value is for a node that is
// not itself a container. It is safe for concurrent use.
type Parser struct {
	root string // without a slash at its end
}

// NewParser returns a parser for a node whose own cgroup is root: "" or "/", unless the
// node is a container, as the nodes of kind are. Cgroups that are not below root do not
// belong to the node.
func NewParser(root string) Parser { return Parser{strings.TrimRight(root, "/")} }

// Parse finds the container in a path from the root of the host's hierarchy, of which it
// parses the first 4096 bytes.
//
// Privileged programs (kubelet, runtime, systemd) choose all names down to the container's
// own cgroup. Processes in the container choose the names below it. Where users can create
// cgroups, a name is not evidence of a container.
func (p Parser) Parse(path string) ContainerRef {
	none := ContainerRef{Level: -1}
	rest, ok := strings.CutPrefix(path, p.root)
	// Any other path does not start at the root, and only its first names can be trusted.
	if !ok || !strings.HasPrefix(rest, "/") {
		return none
	}
	above := strings.Count(p.root, "/")
	names := strings.Split(strings.TrimSuffix(rest[1:min(len(rest), maxPathBytes)], " (deleted)"), "/")
	for i, name := range names {
		// Nor does a path with ".." start at the root.
		if name == "" || name == "." || name == ".." {
			return none
		}
		id, uid := containerIn(names[:i], name)
		switch {
		case id != "":
			return ContainerRef{ID: id, PodUID: uid, Level: above + i, Nested: nestedIn(names[i+1:])}
		case delegated(names, i):
			return ContainerRef{Level: above + i}
		}
	}
	return none
}

// nestedIn returns the first container in the names below another container.
func nestedIn(names []string) string {
	for i, name := range names {
		if id, _ := containerIn(names[:i], name); id != "" {
			return id
		}
	}
	return ""
}

// containerIn returns the id of the container whose cgroup has this name below the names
// above, and the uid of its pod; or "" if it is not a container's.
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
	// Below a namespace of containerd or BuildKit, ids have no fixed form.
	anyID := parent == "buildkit" || parent == "buildx" || len(above) == 1 && (parent == "default" || parent == "k8s.io")
	if anyID && validID(name) {
		return name, ""
	}
	return "", ""
}

// idOf returns the id in the name of a container's cgroup: ID or PREFIX-ID, with ".scope"
// if systemd created it.
func idOf(name string) string {
	name = strings.TrimSuffix(name, ".scope")
	if isFullID(name) {
		return name
	}
	for _, prefix := range []string{
		"cri-containerd-", "crio-", "docker-", "libpod-", "libpod-payload-", "nerdctl-", "kata_",
	} {
		// crio-conmon-ID and libpod-conmon-ID are of the runtime's monitor process.
		if id, ok := strings.CutPrefix(name, prefix); ok && isFullID(id) {
			return id
		}
	}
	return ""
}

// colonForm parses SLICE:PREFIX:ID, the name of the cgroup if a runtime without systemd is
// given a path for systemd.
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

// podUID returns the uid of the pod whose cgroup is the last name, directly below
// kubepods or below a QoS class.
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

// sliceUID returns the uid in the name of a pod's slice, kubepods-burstable-podUID.slice,
// which has underscores instead of dashes.
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

// validUID returns uid if it has the form of a pod's uid: a UUID, the hash of a static
// pod's manifest, or the uid in such a manifest; else "".
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

// validID reports whether a text has the form of a containerd id and is not the name of a
// systemd unit.
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

// isFullID reports whether s is 64 hexadecimal digits, the usual form of an id.
func isFullID(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 64
}
