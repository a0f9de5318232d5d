// Package kubernetes tests the image and the chart on a real Kubernetes of one node:
// the API server, the kubelet, containerd and Helm as their users have them, in
// namespaces of their own. It needs what `make test-kubernetes` builds, which also
// runs it.
package kubernetes

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

const (
	pauseImage    = "localhost/pause:test"
	strangerImage = "localhost/stranger:test"
	minerImage    = "localhost/miner:test"
	agentImage    = "docker.io/cryptnono/cryptnono"
)

// kube is the cluster under test, and version the tag of the agent's image in it.
var (
	kube    *cluster
	version = os.Getenv("VERSION")
)

func TestMain(m *testing.M) {
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func run(m *testing.M) (status int, err error) {
	flag.Parse()
	bin := os.Getenv("KUBERNETES")
	if bin == "" || version == "" || os.Geteuid() != 0 {
		err := errors.New("run `make test-kubernetes`, as root or with sudo")
		if os.Getenv("CRYPTNONO_REQUIRE_ROOT") == "1" {
			return 1, err
		}
		fmt.Println("skipped:", err)
		return 0, nil
	}
	dir, err := os.MkdirTemp("", "cryptnono-kubernetes")
	if err != nil {
		return 1, err
	}
	before := cgroups()
	images, err := buildImages(dir)
	if err == nil {
		kube, err = newCluster(bin, dir, images)
	}
	if err == nil { // as an update is named
		err = kube.ctr("images", "tag", agentImage+":"+version, agentImage+":next")
	}
	if err == nil {
		status = m.Run()
	}
	if kube != nil {
		err = errors.Join(err, kube.down())
	}
	if left := cgroups(); len(left) > len(before) {
		err = errors.Join(err, fmt.Errorf("left behind: %v", left))
	}
	if err != nil || status != 0 {
		showLogs(dir)
		return status, err
	}
	return status, os.RemoveAll(dir)
}

// showLogs prints the end of each log.
func showLogs(dir string) {
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, log := range logs {
		text, _ := os.ReadFile(log)
		fmt.Fprintf(os.Stderr, "--- %s\n%s\n", log, text[max(0, len(text)-2000):])
	}
}

// buildImages makes the images of the pods, and returns the files of all images that
// the cluster needs.
func buildImages(dir string) ([]string, error) {
	idle, miner, words := filepath.Join(dir, "idle"), filepath.Join(dir, "miner"), filepath.Join(dir, "words")
	for _, args := range [][]string{
		{"-static", "-o", idle, "../victims/idle.c"},
		{"-pthread", "-o", miner, "../victims/randomx_miner.c", "-lrandomx"},
		{"-static", "-o", words, "../victims/miner_words.c"},
	} {
		if out, err := exec.Command("cc", append([]string{"-O2"}, args...)...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("cc %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	minerFiles := map[string]string{"/usr/bin/python3": miner, "/usr/bin/worker": words} // no telling name
	dnsmasq := abs("../../.cache/bin/dnsmasq")
	strangerFiles := map[string]string{"/bin/busybox": "/bin/busybox", "/bin/dnsmasq": dnsmasq, "/etc/passwd": "/etc/passwd", "/etc/group": "/etc/group"}
	if err := errors.Join(addLibraries(minerFiles, miner), addLibraries(strangerFiles, dnsmasq)); err != nil {
		return nil, err
	}
	for _, name := range []string{"sh", "echo", "sleep", "true"} {
		strangerFiles["/bin/"+name] = "=busybox"
	}
	images := []string{abs("../../bin/cryptnono-image.tar")}
	for _, i := range []struct {
		name    string
		command []string
		files   map[string]string
	}{
		{pauseImage, []string{"/pause"}, map[string]string{"/pause": idle}},
		{strangerImage, []string{"/bin/sleep", "3600"}, strangerFiles},
		{minerImage, []string{"/usr/bin/python3", "1", "light", "jit"}, minerFiles},
	} {
		file := filepath.Join(dir, strings.NewReplacer("/", "-", ":", "-").Replace(i.name)+".tar")
		if err := writeImage(file, i.name, i.command, i.files); err != nil {
			return nil, fmt.Errorf("making the image %s: %w", i.name, err)
		}
		images = append(images, file)
	}
	return images, nil
}

// addLibraries adds the libraries of a program to the files of an image.
func addLibraries(files map[string]string, program string) error {
	libraries, err := exec.Command("ldd", program).Output()
	if err != nil {
		return fmt.Errorf("looking for the libraries of %s: %w", program, err)
	}
	for _, m := range regexp.MustCompile(`(/\S+) \(0x`).FindAllStringSubmatch(string(libraries), -1) {
		files[m[1]] = m[1]
	}
	return nil
}

// abs returns the absolute path of a file, for commands inside of the node.
func abs(path string) string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return filepath.Join(dir, path)
}

// openFiles is the most that the kubelet may ask for.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		panic(err)
	}
	return min(limit.Max, 1_000_000)
}
