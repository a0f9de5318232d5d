package endpoint

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/cryptnono/cryptnono/internal/strict"
)

// maxTokenBytes is the size of the largest file with a token.
const maxTokenBytes = 4 << 10

// access says which clients may read everything: those that send the bearer token in a file, or all if
// there is no file. It is read for each request with a token, so that it can change.
type access struct {
	file   string // "" for none
	log    *slog.Logger
	failed atomic.Bool // to read the file, when that was last tried
}

// allows reports whether a request is of such a client. While the file cannot be read, none is.
func (a *access) allows(r *http.Request) bool {
	if a.file == "" {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	want := a.token()
	// The comparison of hashes shows no length.
	x, y := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256([]byte(want))
	return want != "" && subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// token returns the token in the file, or "". It logs only the first of successive errors.
func (a *access) token() string {
	token, err := readToken(a.file)
	if failed := err != nil; a.failed.Swap(failed) != failed && failed {
		a.log.Error("no client can read the metrics", "err", fmt.Errorf("reading the token: %w", err))
	}
	return token
}

func readToken(file string) (string, error) {
	f, _, err := strict.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenBytes+1))
	token := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return "", err
	case len(text) > maxTokenBytes:
		return "", errors.New(file + ": larger than 4 KiB")
	case token == "":
		return "", errors.New(file + ": no token")
	}
	return token, nil
}
