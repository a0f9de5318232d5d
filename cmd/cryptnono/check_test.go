package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/commands"
)

func TestACommandIsReadFromStandardInput(t *testing.T) {
	tests := []struct {
		name, input string
		want        []string // nil for an error
	}{
		{"one per line", "/bin/a\nb\nc d\n", []string{"/bin/a", "b", "c d"}},
		{"without a newline at the end", "/bin/a\nb", []string{"/bin/a", "b"}},
		{"an empty argument", "/bin/a\n\nb\n", []string{"/bin/a", "", "b"}},
		{"an empty argument at the end", "/bin/a\n\n", []string{"/bin/a", ""}},
		{"terminated by NULs", "/bin/a\x00b\nc\x00", []string{"/bin/a", "b\nc"}},
		{"empty input", "", nil},
		{"an empty first line", "\nb\n", nil},
		{"more than the limit", strings.Repeat("a", commands.MaxLine+1), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readCommand(strings.NewReader(tt.input))
			if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
				t.Errorf("got %q and %v", got, err)
			}
		})
	}
}
