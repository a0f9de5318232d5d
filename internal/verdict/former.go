package verdict

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/cryptnono/cryptnono/internal/pin"
)

// settle is for how long the programs of a former version may still run after they were replaced:
// a deferred judgement waits for a container for a second.
const settle = 2 * time.Second

// EndFormers calls handle with the events of former versions that no agent has read, waits until none of
// their programs can run any more, and removes what these versions have pinned. It reports
// whether it has done so: not if ctx ends before, and the next agent does it; nor if there are no pins.
// The record is valid until handle returns. If that is an error, as the record cannot be decoded, the next record is
// read nevertheless.
func (k *Kept) EndFormers(ctx context.Context, log *slog.Logger, handle func(f *pin.Former, record []byte) error) bool {
	if k.Unit == nil {
		return false
	}
	for _, f := range k.Formers {
		if err := k.readEventsOf(ctx, log, f, handle); err != nil {
			log.Error("verdicts of another version are not logged", "detector", k.options.Detector, "err", err)
		}
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(settle):
	}
	if err := errors.Join(k.Forget(), k.KeepEntries(k.options.Entries...)); err != nil {
		log.Error("pins of another version are left", "detector", k.options.Detector, "err", err)
	}
	return true
}

// readEventsOf reads the events of a former version.
func (k *Kept) readEventsOf(ctx context.Context, log *slog.Logger, f *pin.Former, handle func(*pin.Former, []byte) error) error {
	m, err := f.Map(k.options.Events)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err //nolint:wrapcheck // it says all
	}
	defer m.Close()
	events, err := ringbuf.NewReader(m)
	if err != nil {
		return fmt.Errorf("opening the ring buffer of another version: %w", err)
	}
	defer events.Close()
	if !k.IsOurFormat(f) {
		log.Warn("verdicts of another version are in another format and not logged", "detector", k.options.Detector,
			"version", f.Version, "bytes", events.AvailableBytes())
		return nil
	}
	var record ringbuf.Record
	var bad int // records
	var first error
	defer func() {
		if bad > 0 {
			log.Warn("verdicts of another version cannot be read and are not logged", "detector", k.options.Detector,
				"version", f.Version, "verdicts", bad, "err", first)
		}
	}()
	for events.AvailableBytes() > 0 && ctx.Err() == nil {
		events.SetDeadline(time.Now().Add(settle))
		if err := events.ReadInto(&record); err != nil {
			return fmt.Errorf("reading the events of another version, %d bytes are left: %w", events.AvailableBytes(), err)
		}
		if err := handle(f, record.RawSample); err != nil {
			if bad++; first == nil {
				first = err
			}
		}
	}
	return nil
}
