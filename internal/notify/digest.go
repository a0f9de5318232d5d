package notify

import (
	"crypto/rand"
	"time"
)

const (
	// window is the time in which an owner has at most one digest.
	window = time.Minute
	// maxOwners is the number of owners with a window. All others share one.
	maxOwners = 1024
)

// digests gathers the lines for a receiver by their owner. It is not safe for concurrent use.
type digests struct {
	owners map[string]*digest
}

// A digest has the lines of an owner in a window, after the first, which is sent at once.
type digest struct {
	ends    time.Time
	message message // without a line if there is none
}

func newMessage(now time.Time) message { return message{id: rand.Text(), queued: now} }

// add adds a line. It returns a message if the line is the first of a window.
func (d *digests) add(now time.Time, l *line) *message {
	owner := l.owner()
	of := d.owners[owner]
	if of == nil && len(d.owners) >= maxOwners {
		owner = ""
		of = d.owners[owner]
	}
	if of == nil {
		d.owners[owner] = &digest{ends: now.Add(window)}
		m := newMessage(now)
		m.add(l)
		return &m
	}
	of.message.add(l)
	return nil
}

// expire returns the messages of the windows that have ended. Those begin another one.
func (d *digests) expire(now time.Time) []*message {
	var ended []*message
	for owner, of := range d.owners {
		if now.Before(of.ends) {
			continue
		}
		if of.message.line == nil {
			delete(d.owners, owner)
			continue
		}
		m := of.message
		m.id, m.queued = rand.Text(), now
		ended = append(ended, &m)
		*of = digest{ends: now.Add(window)}
	}
	return ended
}
