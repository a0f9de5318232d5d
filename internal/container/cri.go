package container

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
)

const (
	// maxMessageBytes bounds an answer: the annotations of a pod alone may be
	// 256 KiB.
	maxMessageBytes = 4 << 20
	// connectTimeout is how long a runtime may take to greet.
	connectTimeout = time.Second
)

// cri asks a runtime of Kubernetes: containerd, CRI-O, cri-dockerd.
//
// https://github.com/kubernetes/cri-api, version v1: containerd 1.6, CRI-O 1.20
// and later.
type cri struct {
	socket socket

	mu   sync.Mutex
	conn *grpc.ClientConn // nil until asked, and after it broke
}

func newCRI(s socket) *cri { return &cri{socket: s} }

func (c *cri) kind() string { return "cri" }

// container asks for a container of this id, or of the only one whose id begins
// so, and for its pod.
func (c *cri) container(ctx context.Context, id string) (*Container, error) {
	found, err := c.ask(ctx, id)
	if broken(ctx, err) {
		// The runtime was started anew since it was asked last.
		found, err = c.ask(ctx, id)
	}
	return found, err
}

func (c *cri) ask(ctx context.Context, id string) (*Container, error) {
	conn, err := c.connection()
	if err != nil {
		return nil, err
	}
	found, err := ask(ctx, runtime.NewRuntimeServiceClient(conn), id)
	if err != nil && (broken(ctx, err) || ctx.Err() != nil) {
		c.drop(conn)
	}
	return found, err
}

func ask(ctx context.Context, client runtime.RuntimeServiceClient, id string) (*Container, error) {
	containers, err := client.ListContainers(ctx, &runtime.ListContainersRequest{
		Filter: &runtime.ContainerFilter{Id: id},
	})
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", err)
	}
	out := &Container{Labels: make(map[string]string)}
	sandbox := id
	for _, c := range containers.GetContainers() {
		if c.GetId() == id { // the filter takes the beginning of an id too
			out.ID, out.Name, sandbox = c.GetId(), c.GetMetadata().GetName(), c.GetPodSandboxId()
			out.Image = image(ctx, client, c)
			out.Labels = kubelets(c.GetLabels())
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
		if out.Name != "" { // CRI-O gives a pod the labels of its infra container too
			out.Labels[nameLabel] = out.Name
		}
		return out.bounded(), nil
	}
	// Also where the pod is removed at this moment.
	return nil, ErrUnknown
}

// image returns the image as the pod's author wrote it, where the kubelet and
// the runtime pass that on (Kubernetes 1.28 and later); else a name that the
// runtime has for it.
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

func kubelets(labels map[string]string) map[string]string {
	out := make(map[string]string)
	for key, value := range labels {
		if strings.HasPrefix(key, kubeletPrefix) {
			out[key] = value
		}
	}
	return out
}

// broken tells whether an error is of the connection: the runtime never saw the
// question.
func broken(ctx context.Context, err error) bool {
	switch status.Code(err) {
	case codes.Unavailable:
		return true
	case codes.Canceled: // another question found it broken, and closed it
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

// drop closes a connection that broke or hangs, so that the next question finds
// the socket that is there then, without waiting for an attempt to fail.
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
