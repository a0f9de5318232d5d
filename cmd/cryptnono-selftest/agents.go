package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// credentials is where Kubernetes mounts those of a pod.
	credentials = "/var/run/secrets/kubernetes.io/serviceaccount"
	// maxBytes is the maximum size of a response. The metrics page has some 50 KiB, a list
	// of 5000 pods some 40 MiB.
	maxBytes       = 128 << 20
	requestTimeout = 10 * time.Second
)

// agents are those of a DaemonSet, as its API server knows them.
type agents struct {
	namespace, name string // of the DaemonSet
	node            string // on which this program runs
	server, token   string
	agentToken      string       // of the agents' port, "" for none
	api             *http.Client // trusts the API server's certificate, and uses no proxy
}

// A daemonSet has the fields of that object that are needed here.
type daemonSet struct {
	Metadata struct{ Generation int64 }
	Spec     struct {
		Selector struct{ MatchLabels map[string]string }
		Template struct {
			Spec struct {
				Containers []struct {
					Ports []struct{ ContainerPort int }
				}
			}
		}
	}
	Status struct {
		ObservedGeneration                             int64
		DesiredNumberScheduled, UpdatedNumberScheduled int
	}
}

// A pod is one agent.
type pod struct {
	Metadata struct {
		Name              string
		DeletionTimestamp *string // set while it ends
	}
	Spec   struct{ NodeName string }
	Status struct{ Phase, PodIP string }
}

// inCluster returns the agents of NAMESPACE/NAME, read with the credentials of this pod.
func inCluster(target, node, dir string) (*agents, error) {
	namespace, name, ok := strings.Cut(target, "/")
	if !ok {
		return nil, fmt.Errorf("-agents: want NAMESPACE/DAEMONSET, not %q", target)
	}
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	token, err := os.ReadFile(filepath.Join(dir, "token"))
	if err != nil || host == "" {
		return nil, errors.Join(errors.New("-agents works only in a pod of Kubernetes with a service account"), err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("no certificate in ca.crt of the service account")
	}
	return &agents{
		namespace: namespace, name: name, node: node,
		server: "https://" + net.JoinHostPort(host, port), token: strings.TrimSpace(string(token)), agentToken: strings.TrimSpace(os.Getenv("AGENT_TOKEN")),
		api: &http.Client{Timeout: requestTimeout, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}},
	}, nil
}

// get reads an object from the API server.
func (a *agents) get(ctx context.Context, path string, object any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.server+path, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	request.Header.Set("Accept", "application/json")
	response, err := a.api.Do(request)
	if err != nil {
		return fmt.Errorf("asking the API server: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("asking the API server for %s: %s", path, response.Status)
	}
	return json.NewDecoder(io.LimitReader(response.Body, maxBytes)).Decode(object)
}

// list returns the DaemonSet and its pods, sorted by node.
func (a *agents) list(ctx context.Context) (d daemonSet, pods []pod, err error) {
	if err := a.get(ctx, "/apis/apps/v1/namespaces/"+a.namespace+"/daemonsets/"+a.name, &d); err != nil {
		return d, nil, err
	}
	var labels []string
	for key, value := range d.Spec.Selector.MatchLabels {
		labels = append(labels, key+"="+value)
	}
	slices.Sort(labels)
	var found struct{ Items []pod }
	err = a.get(ctx, "/api/v1/namespaces/"+a.namespace+"/pods?labelSelector="+url.QueryEscape(strings.Join(labels, ",")), &found)
	pods = slices.DeleteFunc(found.Items, func(p pod) bool { return p.Metadata.DeletionTimestamp != nil })
	slices.SortFunc(pods, func(p, q pod) int { return strings.Compare(p.Spec.NodeName, q.Spec.NodeName) })
	return d, pods, err
}

// allReady waits until each node that should have an agent has one that is ready, and
// returns the names of the nodes. The error has each that is missing when ctx ends.
func (a *agents) allReady(ctx context.Context) ([]string, error) {
	for {
		nodes, err := a.ready(ctx)
		if err == nil {
			return nodes, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(retryInterval):
		}
	}
}

func (a *agents) ready(ctx context.Context) (nodes []string, err error) {
	d, pods, err := a.list(context.WithoutCancel(ctx)) // at the end of ctx the state is of interest
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, p := range pods {
		if err := a.askReady(ctx, &d, p); err != nil {
			errs = append(errs, fmt.Errorf("%s on node %q: %w", p.Metadata.Name, p.Spec.NodeName, err))
		} else if !slices.Contains(nodes, p.Spec.NodeName) {
			nodes = append(nodes, p.Spec.NodeName)
		}
	}
	switch want := d.Status.DesiredNumberScheduled; {
	case d.Status.ObservedGeneration != d.Metadata.Generation || d.Status.UpdatedNumberScheduled != want:
		errs = append(errs, fmt.Errorf("%d of %d agents are of the new version", d.Status.UpdatedNumberScheduled, want))
	case len(nodes) != want || want == 0:
		errs = append(errs, fmt.Errorf("%d of %d nodes have an agent that is ready", len(nodes), want))
	}
	return nodes, errors.Join(errs...)
}

// askReady asks an agent whether it is ready.
func (a *agents) askReady(ctx context.Context, d *daemonSet, p pod) error {
	if p.Status.PodIP == "" {
		return fmt.Errorf("its pod is %s", p.Status.Phase)
	}
	_, err := a.ask(ctx, d, p, "/readyz")
	return err
}

// ask returns a page of an agent.
func (a *agents) ask(ctx context.Context, d *daemonSet, p pod, path string) (string, error) {
	port := 0
	for _, c := range d.Spec.Template.Spec.Containers {
		for _, of := range c.Ports {
			port = of.ContainerPort
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(p.Status.PodIP, strconv.Itoa(port))+path, http.NoBody)
	if err != nil {
		return "", err
	}
	if a.agentToken != "" {
		request.Header.Set("Authorization", "Bearer "+a.agentToken)
	}
	response, err := a.api.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxBytes))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(text[:min(len(text), 300)])))
	}
	return string(text), err
}

// verdicts returns how many banned programs the agents on this node have killed, and how
// many they have let live.
func (a *agents) verdicts(ctx context.Context) (killed, alive float64, err error) {
	d, pods, err := a.list(ctx)
	if err != nil {
		return 0, 0, err
	}
	found := false
	for _, p := range pods {
		if p.Spec.NodeName != a.node || p.Status.PodIP == "" {
			continue
		}
		page, err := a.ask(ctx, &d, p, "/metrics")
		if err != nil {
			return 0, 0, fmt.Errorf("asking %s for its metrics: %w", p.Metadata.Name, err)
		}
		found = true
		killed += total(page, "killed")
		alive += total(page, "observed") + total(page, "exempt")
	}
	if !found {
		return 0, 0, fmt.Errorf("node %q has no agent of this release", a.node)
	}
	return killed, alive, nil
}

// counted waits until there are more verdicts of the expected kind than these.
func (a *agents) counted(ctx context.Context, expect string, killed, alive float64) error {
	for {
		moreKilled, moreAlive, err := a.verdicts(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		if expect == "killed" && moreKilled > killed || expect == "alive" && moreAlive > alive {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the agent on node %s has not counted it: another agent may run there, look for it with: kubectl get daemonsets --all-namespaces", a.node)
		case <-time.After(retryInterval):
		}
	}
}

// total returns the number of verdicts of execwhacker with this action, on a page of metrics.
func total(page, action string) (sum float64) {
	for lines := bufio.NewScanner(strings.NewReader(page)); lines.Scan(); {
		series, value, _ := strings.Cut(lines.Text(), "} ")
		if strings.HasPrefix(series, "cryptnono_verdicts_total{") && strings.Contains(series, `detector="execwhacker"`) && strings.Contains(series, `action="`+action+`"`) {
			n, _ := strconv.ParseFloat(value, 64)
			sum += n
		}
	}
	return sum
}
