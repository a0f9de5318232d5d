package runtimes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/cryptnono/cryptnono/internal/container"
)

// maxResponseBytes is the maximum size of a response.
const maxResponseBytes = 1 << 20

// docker is a client of Docker's Engine API, which Podman serves as well.
//
// https://docs.docker.com/reference/api/engine/
type docker struct {
	client *http.Client
}

func newDocker(s socket) *docker {
	return &docker{client: &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx) },
			// One connection per request, so that none breaks when the daemon restarts.
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (d *docker) kind() string { return "docker" }

func (d *docker) close() error { return nil }

func (d *docker) container(ctx context.Context, id string) (*container.Container, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/containers/"+url.PathEscape(id)+"/json", nil)
	if err != nil {
		return nil, err
	}
	response, err := d.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, container.ErrUnknown
	default:
		return nil, fmt.Errorf("response status %s", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponseBytes+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxResponseBytes {
		return nil, errors.New("response of more than 1 MiB")
	}
	var answer struct {
		ID     string `json:"Id"`
		Name   string
		Config struct {
			Image  string
			Labels map[string]string
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("decoding the response: %w", err)
	}
	// The API also accepts names, and a container's name can look like an id.
	if answer.ID != id {
		return nil, container.ErrUnknown
	}
	c := &container.Container{
		ID:     answer.ID,
		Name:   strings.TrimPrefix(answer.Name, "/"),
		Image:  answer.Config.Image,
		Labels: answer.Config.Labels,
	}
	// The kubelet sets these labels through cri-dockerd. An image can have them as well, so
	// they count only if the cgroup is that of the pod.
	c.Pod, c.Namespace, c.PodUID = c.Labels[podLabel], c.Labels[namespaceKey], c.Labels[uidLabel]
	if name := c.Labels[nameLabel]; name != "" && c.PodUID != "" {
		c.Name = name
	}
	return bounded(*c), nil
}
