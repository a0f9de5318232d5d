package verdict

import (
	"fmt"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/process"
)

func TestTwoDetectorsMeet(t *testing.T) {
	pod := sign{owner: "/kubepods/pod1/c1", detector: "a", text: "a: x", at: time.Hour}
	with := func(s sign, change func(*sign)) sign {
		change(&s)
		return s
	}
	host := with(pod, func(s *sign) { s.owner, s.process = "/user.slice/user-1000.slice", process.Instance{PID: 7, Start: 5} })
	b := func(s *sign) { s.detector = "b" }
	tests := []struct {
		name  string
		first sign
		then  sign
		want  string
	}{
		{"another detector in the same container", pod, with(pod, b), "a: x"},
		{"the same detector", pod, pod, ""},
		{"another container", pod, with(pod, func(s *sign) { b(s); s.owner = "/kubepods/pod1/c2" }), ""},
		{"within ten minutes", pod, with(pod, func(s *sign) { b(s); s.at += 10 * time.Minute }), "a: x"},
		{"later", pod, with(pod, func(s *sign) { b(s); s.at += 10*time.Minute + 1 }), ""},
		{"the same process of the host", host, with(host, b), "a: x"},
		{"another process of the host", host, with(host, func(s *sign) { b(s); s.process.PID++ }), ""},
		{"a later process with its pid", host, with(host, func(s *sign) { b(s); s.process.Start++ }), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s signs
			if got := s.meet(tt.first); got != "" {
				t.Errorf("the first one meets %q", got)
			}
			if got := s.meet(tt.then); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A user with many processes, and many users, cost no more memory, and the one does not cost
// another one's signs.
func TestSignsAreBounded(t *testing.T) {
	var s signs
	other := sign{owner: "other", detector: "a", text: "other's"}
	s.meet(other)
	for i := range 10 * maxSigns {
		s.meet(sign{owner: "own", process: process.Instance{PID: i}, detector: "a", text: "own"})
	}
	if n := len(s.seen); n != maxOwnSigns+1 {
		t.Errorf("%d signs of two owners", n)
	}
	if got := s.meet(sign{owner: "other", detector: "b"}); got != "other's" {
		t.Errorf("the sign of another owner is lost: %q", got)
	}
	for i := range 10 * maxSigns {
		s.meet(sign{owner: fmt.Sprint(i), detector: "a"})
	}
	if n := len(s.seen); n != maxSigns {
		t.Errorf("%d signs", n)
	}
}
