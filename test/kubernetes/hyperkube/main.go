// Command hyperkube is all that a Kubernetes of one node consists of, but for the
// container runtime: etcd and the components are one program, since they share most
// of their code, and linking it once takes a seventh of the time.
//
//	hyperkube COMPONENT [flag...]
//
// It is a module of its own, so that none of its hundreds of modules touches ours.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/version" // the version, as a metric and for `version`
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func components() map[string]func() *cobra.Command {
	return map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": controllers.NewControllerManagerCommand,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
		"kubectl":                 kubectl.NewDefaultKubectlCommand,
		"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	}
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: hyperkube COMPONENT [flag...]")
		os.Exit(2)
	}
	// Each takes its name and its flags from os.Args.
	os.Args = os.Args[1:]
	if os.Args[0] == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	command, known := components()[os.Args[0]]
	if !known {
		fmt.Fprintln(os.Stderr, "hyperkube: no component", os.Args[0])
		os.Exit(2)
	}
	os.Exit(cli.Run(command()))
}
