package sanity

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

func key(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// programs finds exempt programs that run what others give them.
func (f *findings) programs() {
	for i, program := range f.config.Exemptions.Programs {
		place := f.config.Place(key("exemptions.programs", i))
		name := path.Base(program)
		switch {
		case regexp.MustCompile(`^(python|pypy|perl|ruby|node|nodejs|deno|bun|java|php|lua|luajit|tclsh|Rscript|julia|dotnet|mono|wine|qemu-(aarch64|arm|i386|x86_64|riscv64|ppc64le|s390x)(-static)?)[-0-9.]*$`).MatchString(name),
			regexp.MustCompile(`^ld(-linux|-musl|\.so|-\d|64\.so).*$`).MatchString(name):
			f.refuse(place, "%s runs whatever program it is given, a miner too: spare one command line of it by an allow pattern", program)
		case regexp.MustCompile(`^(ba|da|a|z|k|mk|c|tc|fi)?sh[-0-9.]*$|^(busybox|toybox)$`).MatchString(name):
			f.warn(place, "%s runs whatever commands it is given: an allow pattern spares one command line of it", program)
		}
		f.directory(place, program)
	}
}

// paths finds sockets that anybody can put in the place of a runtime's.
func (f *findings) paths() {
	for i, socket := range f.config.Containers.Sockets {
		f.directory(f.config.Place(key("containers.sockets", i)), socket)
	}
}

// directory finds paths that are trusted, in directories that users may write.
func (f *findings) directory(place, file string) {
	for _, dir := range []string{"/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/", "/home/"} {
		if strings.HasPrefix(path.Clean(file), dir) {
			f.warn(place, "%s is in %s, where users may put files of their own", file, strings.TrimSuffix(dir, "/"))
		}
	}
}

// podLabels finds labels that the pods of users have.
func (f *findings) podLabels() {
	for i, label := range f.config.Exemptions.PodLabels {
		key, value, one := strings.Cut(label, "=")
		for _, p := range userPods() {
			if its, there := p.labels[key]; there && (!one || its == value) {
				f.warn(f.config.Place(fmt.Sprintf("exemptions.podLabels[%d]", i)), "%q exempts %s as well", label, p.who)
			}
		}
	}
}

type userPod struct {
	who    string
	labels map[string]string
}

// userPods returns the labels of pods in which users run what they like. Sources:
// KubeSpawner's common_labels and BinderHub's build.py.
func userPods() []userPod {
	return []userPod{
		{"the users' servers of JupyterHub", map[string]string{
			"app": "jupyterhub", "component": "singleuser-server", "heritage": "jupyterhub", "release": "", "chart": "",
			"app.kubernetes.io/name": "jupyterhub", "app.kubernetes.io/component": "singleuser-server",
			"app.kubernetes.io/instance": "", "app.kubernetes.io/managed-by": "kubespawner", "helm.sh/chart": "",
			"hub.jupyter.org/username": "", "hub.jupyter.org/servername": "",
		}},
		{"the builds of BinderHub", map[string]string{"component": "binderhub-build"}},
		{"every pod of a Deployment", map[string]string{"pod-template-hash": ""}},
		{"every pod of a DaemonSet or StatefulSet", map[string]string{"controller-revision-hash": ""}},
		{"every pod of a Job", map[string]string{"job-name": "", "batch.kubernetes.io/job-name": ""}},
	}
}
