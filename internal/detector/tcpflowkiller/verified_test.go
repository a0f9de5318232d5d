//go:build !race

package tcpflowkiller

import (
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestTheVerifierIsFarFromItsLimit(t *testing.T) {
	testutil.Privileged(t)
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	testutil.LogVerified(t, Name, spec)
}
