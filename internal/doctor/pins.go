package doctor

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cryptnono/cryptnono/internal/pin"
)

// pins looks for what outlives an agent.
func pins() (string, error) {
	all, err := pin.FindAll()
	if err != nil {
		return "", fmt.Errorf("%w: %w", errUnknown, err)
	}
	if len(all) == 0 {
		return "none", nil
	}
	var used []string
	for _, f := range all {
		text := f.Path + " (" + strings.Join(f.Units, ", ") + ")"
		if f.Held {
			used = append(used, text+", which an agent uses")
			continue
		}
		err = errors.Join(err, fmt.Errorf("%s protects without an agent, by the rules of the last one: start one with the setting pins, or run `cryptnono unpin --pins %s`", text, f.Path))
	}
	return strings.Join(used, ", "), err
}
