package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cryptnono/cryptnono/internal/procread"
)

func TestMain(m *testing.M) {
	procread.ServeIfChild()
	testscript.Main(m, map[string]func(){"cryptnono": main})
}
