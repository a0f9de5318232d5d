// Package learned lists the program files that the rule program has learned, and forgets them: the
// agent serves both on a Unix socket that only root may use, and `cryptnono learned` asks for them.
//
// The socket is a file, not an abstract name: any user of the network namespace could take that
// name first, or connect to it.
package learned

import "time"

// Socket is the path of the agent's socket, in the agent's mount namespace.
const Socket = "/run/cryptnono/learned.sock"

// A File is a program file whose next start is a kill. docs/cli.md describes the keys.
type File struct {
	ID         uint64    `json:"id"`   // counted from 1, for each run of the agent or, with pins, each boot
	Path       string    `json:"file"` // as the process that was killed had it, printable
	Inode      uint64    `json:"inode"`
	Device     uint32    `json:"device"` // in the kernel's own encoding
	Generation uint32    `json:"generation"`
	PID        int       `json:"pid"` // of the process that was killed
	UID        uint32    `json:"uid"`
	Cgroup     string    `json:"cgroup"`
	Learned    time.Time `json:"learned"`
	Hits       uint64    `json:"hits"` // execs of the file since then
	LastHit    time.Time `json:"last_hit,omitzero"`
	Expires    time.Time `json:"expires"` // without another hit
}

// A Selection says which files are meant: all, that with an ID, or those with a path.
type Selection struct {
	All  bool   `json:"all,omitempty"`
	ID   uint64 `json:"id,omitempty"`
	Path string `json:"file,omitempty"`
}

// Has reports whether a file is meant.
func (s Selection) Has(f File) bool {
	return s.All || s.ID != 0 && s.ID == f.ID || s.Path != "" && s.Path == f.Path
}

// A Store has the files. It is safe for concurrent use.
type Store interface {
	// Files returns all files, by ID.
	Files() ([]File, error)
	// Forget forgets files, and returns them.
	Forget(s Selection) ([]File, error)
}

// A request is one line of JSON.
type request struct {
	Forget *Selection `json:"forget,omitempty"` // nil to list
}

// A response is one line of JSON. A file takes some 5 KB at most.
type response struct {
	Files []File `json:"files"`
	Error string `json:"error,omitempty"`
}

// timeLimit is that of a request with its response.
const timeLimit = 5 * time.Second
