package procread

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cryptnono/cryptnono/internal/process"
)

// Activity is what a process exchanges with others.
type Activity struct {
	// Read and Written are the bytes of read(2), write(2) and similar calls since its start:
	// rchar and wchar in /proc/PID/io. They have neither those of send(2) and recv(2), nor
	// those of mappings and io_uring.
	Read, Written uint64
	// Connections are its established TCP connections among its first 4096 descriptors and in
	// the first 2 MiB of its network namespace's tables. More: it can have more.
	Connections uint32
	More        bool
	// Network is the bytes that its network namespace has received and sent since its
	// creation, except on loopback. HostNetwork: it is that of init, or unknown; then Network
	// is 0.
	Network     uint64
	HostNetwork bool
	// Writable: all may write to a directory in the path that was asked for. If the path does
	// not lead there, as in another root directory, or before Linux 5.12, it means that the
	// path is in /tmp, /var/tmp, /dev/shm or /run/lock.
	Writable bool
}

// Activity returns what a process exchanges with others, and whether all may write to where a
// path leads, as in Mapping; "" for none. The error is process.ErrGone or ErrStuck as in Read.
func (r *Reader) Activity(ctx context.Context, h *process.Handle, owner, path string) (Activity, error) {
	var a Activity
	if len(path) > maxPath {
		path = path[:maxPath]
	}
	known := false
	_, err := r.file(ctx, h, owner, request{kind: requestActivity, names: []string{path}}, func(data []byte) (err error) {
		if len(data) > 0 {
			known = true
			a, err = decodeActivity(data)
		}
		return err
	})
	if err == nil && !known {
		err = errProtocol
	}
	if err != nil {
		return Activity{}, fmt.Errorf("reading what process %d exchanges: %w", h.PID(), err)
	}
	return a, nil
}

// activitySize is the length of an encoded Activity: the numbers, and a byte of flags.
const activitySize = 3*8 + 4 + 1

const (
	activityMore = 1 << iota
	activityHostNetwork
	activityWritable
)

func (a Activity) encode() []byte {
	b := make([]byte, 0, activitySize)
	for _, n := range []uint64{a.Read, a.Written, a.Network} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = binary.LittleEndian.AppendUint32(b, a.Connections)
	flags := byte(0)
	for flag, on := range map[byte]bool{activityMore: a.More, activityHostNetwork: a.HostNetwork, activityWritable: a.Writable} {
		if on {
			flags |= flag
		}
	}
	return append(b, flags)
}

func decodeActivity(b []byte) (Activity, error) {
	if len(b) != activitySize || b[activitySize-1] > activityMore|activityHostNetwork|activityWritable {
		return Activity{}, fmt.Errorf("%w: %d bytes of an activity", errProtocol, len(b))
	}
	n := binary.LittleEndian.Uint64
	flags := b[activitySize-1]
	return Activity{
		Read: n(b), Written: n(b[8:]), Network: n(b[16:]), Connections: binary.LittleEndian.Uint32(b[24:]),
		More: flags&activityMore != 0, HostNetwork: flags&activityHostNetwork != 0, Writable: flags&activityWritable != 0,
	}, nil
}
