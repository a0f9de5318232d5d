package runtimes

import (
	"context"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/cryptnono/cryptnono/internal/container"
)

const (
	// maxMessageBytes is the maximum size of a response. The annotations of one pod can
	// have 256 KiB.
	maxMessageBytes = 4 << 20
	// connectTimeout is the time limit for a connection.
	connectTimeout = time.Second
)

// cri is a client of a CRI runtime: containerd, CRI-O, cri-dockerd.
//
// https://github.com/kubernetes/cri-api, version v1: containerd 1.6, CRI-O 1.20
// and later.
type cri struct {
	socket      socket
	annotations []string // of pods, that are wanted

	mu   sync.Mutex
	conn *grpc.ClientConn // nil before the first request, and after it broke
}

func newCRI(s socket, annotations []string) *cri { return &cri{socket: s, annotations: annotations} }

func (c *cri) kind() string { return "cri" }

// container requests the container with this id, or the sandbox with this id, and its pod.
func (c *cri) container(ctx context.Context, id string) (*container.Container, error) {
	found, err := c.request(ctx, id)
	if broken(ctx, err) {
		// The runtime was restarted since the last request.
		found, err = c.request(ctx, id)
	}
	return found, err
}

func (c *cri) request(ctx context.Context, id string) (*container.Container, error) {
	conn, err := c.connection()
	if err != nil {
		return nil, err
	}
	found, err := c.ask(ctx, runtime.NewRuntimeServiceClient(conn), id)
	if err != nil && (broken(ctx, err) || ctx.Err() != nil) {
		c.drop(conn)
	}
	return found, err
}

func (c *cri) ask(ctx context.Context, client runtime.RuntimeServiceClient, id string) (*container.Container, error) {
	containers, err := client.ListContainers(ctx, &runtime.ListContainersRequest{
		Filter: &runtime.ContainerFilter{Id: id},
	})
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", err)
	}
	out := &container.Container{Labels: make(map[string]string)}
	sandbox := id
	for _, found := range containers.GetContainers() {
		if found.GetId() == id { // the filter also accepts a prefix of an id
			out.ID, out.Name, sandbox = found.GetId(), found.GetMetadata().GetName(), found.GetPodSandboxId()
			out.Image = image(ctx, client, found)
			out.Labels = kubeletLabels(found.GetLabels())
		}
	}
	pods, err := client.ListPodSandbox(ctx, &runtime.ListPodSandboxRequest{
		Filter: &runtime.PodSandboxFilter{Id: sandbox},
	})
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	for _, p := range pods.GetItems() {
		if p.GetId() != sandbox {
			continue
		}
		if out.ID == "" {
			out.ID = p.GetId()
		}
		out.Pod, out.Namespace, out.PodUID = p.GetMetadata().GetName(), p.GetMetadata().GetNamespace(), p.GetMetadata().GetUid()
		maps.Copy(out.Labels, p.GetLabels())
		out.Annotations = chosen(p.GetAnnotations(), c.annotations)
		if out.Name != "" { // CRI-O adds the labels of the sandbox container to those of the pod
			out.Labels[nameLabel] = out.Name
		}
		return bounded(*out), nil
	}
	// Or the pod was removed since the first request.
	return nil, container.ErrUnknown
}

// image returns the image as specified in the pod, if the kubelet and the runtime pass it
// on (Kubernetes 1.28 and later), else a name of the image in the runtime.
func image(ctx context.Context, client runtime.RuntimeServiceClient, c *runtime.Container) string {
	if name := c.GetImage().GetUserSpecifiedImage(); name != "" {
		return name
	}
	answer, err := client.ContainerStatus(ctx, &runtime.ContainerStatusRequest{ContainerId: c.GetId()})
	if name := answer.GetStatus().GetImage().GetImage(); err == nil && name != "" {
		return name
	}
	return c.GetImage().GetImage()
}

func kubeletLabels(labels map[string]string) map[string]string {
	out := make(map[string]string)
	for key, value := range labels {
		if strings.HasPrefix(key, kubeletPrefix) {
			out[key] = value
		}
	}
	return out
}

// chosen returns the entries of all with these keys; nil for none.
func chosen(all map[string]string, keys []string) map[string]string {
	var out map[string]string
	for _, key := range keys {
		if value, ok := all[key]; ok {
			if out == nil {
				out = make(map[string]string, len(keys))
			}
			out[key] = value
		}
	}
	return out
}

// broken reports whether err is an error of the connection, so that the runtime has not
// received the request.
func broken(ctx context.Context, err error) bool {
	switch status.Code(err) {
	case codes.Unavailable:
		return true
	case codes.Canceled: // another request has closed the connection
		return ctx.Err() == nil
	}
	return false
}

func (c *cri) connection() (*grpc.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		return c.conn, nil
	}
	conn, err := grpc.NewClient("passthrough:///runtime",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.socket.dial(ctx) }),
		grpc.WithAuthority("localhost"),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(time.Minute),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 2, MaxDelay: time.Second},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)))
	if err != nil {
		return nil, err
	}
	c.conn = conn
	return conn, nil
}

// drop closes a connection that is broken or hangs, so that the next request opens the
// current socket immediately.
func (c *cri) drop(conn *grpc.ClientConn) {
	c.mu.Lock()
	if c.conn == conn {
		c.conn = nil
	}
	c.mu.Unlock()
	conn.Close()
}

func (c *cri) close() error {
	c.mu.Lock()
	conn := c.conn
	c.conn = nil
	c.mu.Unlock()
	if conn == nil {
		return nil
	}
	return conn.Close()
}
