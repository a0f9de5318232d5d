package guard

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/process"
)

// surveyTimeout is how long a policy waits for what container runtimes say of the
// cgroups that there are. What is not known by then is asked for when it matters.
const surveyTimeout = time.Second

// Apply puts a policy, which must be valid, in the place of the one before. In user
// space it holds when Apply returns; in the kernel, for programs that are loaded with
// what Maps returns then. The cgroups that there are have been judged by then. An
// unchanged policy changes nothing. A brake that is engaged stays so.
func (g *Guard) Apply(p Policy) error {
	g.applying.Lock()
	defer g.applying.Unlock()
	if now := g.now(); now != nil && reflect.DeepEqual(now.policy, p) {
		return nil
	}
	next, err := g.newSet(p)
	if err != nil {
		return err
	}
	g.mu.Lock()
	last := g.before
	g.before, g.current = g.current, next // new cgroups are judged by both from here on
	g.mu.Unlock()
	if last != nil {
		err = last.close() // the programs that used it are gone
	}
	ctx, cancel := context.WithTimeout(context.Background(), surveyTimeout)
	defer cancel()
	return errors.Join(err, g.survey(ctx, next), g.objs.Policies.Put(uint32(0), g.limits(p)))
}

// limits returns a policy for the kernel, without exemptions.
func (g *Guard) limits(p Policy) bpfPolicy {
	return bpfPolicy{
		QuietNs:        uint64(p.KillLimit.Cooldown),
		Kills:          uint32(p.KillLimit.PerMinute),
		ContainerKills: uint32(p.KillLimit.PerContainer),
	}
}

// fileAt returns which file a path leads to on the host.
func (g *Guard) fileAt(path string) (process.FileID, error) {
	fd, err := g.open(path, unix.O_PATH)
	if err != nil {
		return process.FileID{}, err
	}
	defer unix.Close(fd)
	return g.fileOf(fd)
}

// open opens a file by its path on the host.
func (g *Guard) open(path string, flags uint64) (fd int, err error) {
	if g.root == nil {
		return -1, unix.ENOENT
	}
	return unix.Openat2(int(g.root.Fd()), path, &unix.OpenHow{
		Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// Own returns which file the caller's own program is, in any PID namespace.
func (g *Guard) Own() (process.FileID, error) {
	fd, err := unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return process.FileID{}, fmt.Errorf("opening the own program: %w", err)
	}
	defer unix.Close(fd)
	return g.fileOf(fd)
}

// fileOf returns which file a descriptor is of.
func (g *Guard) fileOf(fd int) (process.FileID, error) {
	g.listing.Lock()
	defer g.listing.Unlock()
	// Not by stat: some file systems have another number for their device there.
	if ret, err := g.objs.IdentifyFile.Run(&ebpf.RunOptions{Context: [2]uint64{uint64(fd)}}); err != nil || ret != 0 {
		return process.FileID{}, errors.Join(errors.New("asking the kernel for a file"), err)
	}
	var id bpfFileId
	if err := g.objs.Identified.Get(&id); err != nil {
		return process.FileID{}, fmt.Errorf("reading which file it is: %w", err)
	}
	return process.FileID{Inode: id.Inode, Device: id.Device, Generation: id.Generation}, nil
}

// identifyInterval is the time between two looks at the files of exempt programs.
const identifyInterval = time.Second

// followFiles notices when the file of an exempt program is replaced, until ctx ends.
func (g *Guard) followFiles(ctx context.Context, loop *health.Loop) error {
	tick := time.NewTicker(identifyInterval)
	defer tick.Stop()
	for {
		loop.Rest()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		loop.Turn()
		g.applying.Lock()
		err := g.now().identify(g)
		g.applying.Unlock()
		if err != nil {
			return err
		}
	}
}

// forget deletes the entries of a map whose keys are as said.
func forget[K any](m *ebpf.Map, gone func(K) bool) error {
	var keys []K
	var key K
	entries := m.Iterate()
	for value := make([]byte, m.ValueSize()); entries.Next(&key, &value); {
		if gone(key) {
			keys = append(keys, key)
		}
	}
	if err := entries.Err(); err != nil {
		return fmt.Errorf("listing %v: %w", m, err)
	}
	for _, key := range keys {
		if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}
