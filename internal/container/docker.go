package container

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
)

// maxAnswerBytes is how much of an answer is read.
const maxAnswerBytes = 1 << 20

// docker asks the Engine API of Docker, which Podman speaks as well.
//
// https://docs.docker.com/reference/api/engine/
type docker struct {
	client *http.Client
}

func newDocker(s socket) *docker {
	return &docker{client: &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx) },
			// A connection for each question: none breaks when the daemon
			// restarts.
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (d *docker) kind() string { return "docker" }

func (d *docker) close() error { return nil }

func (d *docker) container(ctx context.Context, id string) (*Container, error) {
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
		return nil, ErrUnknown
	default:
		return nil, fmt.Errorf("answered %s", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswerBytes {
		return nil, errors.New("answered more than a mebibyte")
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
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	// Names are accepted in place of ids, and the names of containers may look
	// like ids.
	if answer.ID != id {
		return nil, ErrUnknown
	}
	c := &Container{
		ID:     answer.ID,
		Name:   strings.TrimPrefix(answer.Name, "/"),
		Image:  answer.Config.Image,
		Labels: answer.Config.Labels,
	}
	// Those of the kubelet, by way of cri-dockerd. An image can have such
	// labels too: whether this is a pod's container, the cgroup tells.
	c.Pod, c.Namespace, c.PodUID = c.Labels[podLabel], c.Labels[namespaceKey], c.Labels[uidLabel]
	if name := c.Labels[nameLabel]; name != "" && c.PodUID != "" {
		c.Name = name
	}
	return c.bounded(), nil
}

// outOfPods takes away what Kubernetes alone may say, of a container that is
// in no pod.
func (c *Container) outOfPods() *Container {
	out := *c
	out.Pod, out.Namespace, out.PodUID = "", "", ""
	out.Labels = make(map[string]string, len(c.Labels))
	for key, value := range c.Labels {
		if !strings.HasPrefix(key, kubeletPrefix) {
			out.Labels[key] = value
		}
	}
	return &out
}
