package sanity

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

func key(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// programs reports exempt programs that run other programs or commands.
func (f *findings) programs() {
	for i, program := range f.config.Exemptions.Programs {
		place := f.config.Place(key("exemptions.programs", i))
		name := path.Base(program)
		switch {
		case regexp.MustCompile(`^(python|pypy|perl|ruby|node|nodejs|deno|bun|java|php|lua|luajit|tclsh|Rscript|julia|dotnet|mono|wine|qemu-(aarch64|arm|i386|x86_64|riscv64|ppc64le|s390x)(-static)?)[-0-9.]*$`).MatchString(name),
			regexp.MustCompile(`^ld(-linux|-musl|\.so|-\d|64\.so).*$`).MatchString(name):
			f.refuse(place, "%s can run any program, including a miner: use an allow pattern for one command line instead", program)
		case regexp.MustCompile(`^(ba|da|a|z|k|mk|c|tc|fi)?sh[-0-9.]*$|^(busybox|toybox)$`).MatchString(name):
			f.warn(place, "%s can run any command: an allow pattern for one command line is safer", program)
		}
		f.directory(place, program)
	}
}

// paths reports sockets of runtimes that a user can replace.
func (f *findings) paths() {
	for i, socket := range f.config.Containers.Sockets {
		f.directory(f.config.Place(key("containers.sockets", i)), socket)
	}
}

// directory reports a trusted file in a directory that users can write to.
func (f *findings) directory(place, file string) {
	for _, dir := range []string{"/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/", "/home/"} {
		if strings.HasPrefix(path.Clean(file), dir) {
			f.warn(place, "%s is in %s, where users can create files", file, strings.TrimSuffix(dir, "/"))
		}
	}
}

// podLabels reports labels that pods of users have.
func (f *findings) podLabels() {
	for i, label := range f.config.Exemptions.PodLabels {
		key, value, hasValue := strings.Cut(label, "=")
		for _, p := range userPods() {
			if v, ok := p.labels[key]; ok && (!hasValue || v == value) {
				f.warn(f.config.Place(fmt.Sprintf("exemptions.podLabels[%d]", i)), "%q also exempts %s", label, p.what)
			}
		}
	}
}

type userPod struct {
	what   string
	labels map[string]string
}

// userPods returns the labels of pods in which users choose the programs. Sources:
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
