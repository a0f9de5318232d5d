package tcpflowkiller

import (
	"slices"
	"testing"

	"github.com/cryptnono/cryptnono/internal/strict"
)

func TestPortsAreNumbersOrTexts(t *testing.T) {
	for content, want := range map[string][]uint16{
		`scan: {exceptPorts: [22, "80", 65535]}`: {22, 80, 65535},
		"scan: {exceptPorts: [0]}":               nil,
		"scan: {exceptPorts: [65536]}":           nil,
		`scan: {exceptPorts: ["ssh"]}`:           nil,
		"scan: {exceptPorts: [22.5]}":            nil,
	} {
		s := Defaults()
		err := strict.Parse("settings.yaml", []byte(content), func(v strict.Value) { s.Table().Decode(v, func(strict.Value) {}) })
		if got := s.Scan.exceptPorts(); err == nil && !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%s: %v, %v, want %v", content, got, err, want)
		}
	}
}
