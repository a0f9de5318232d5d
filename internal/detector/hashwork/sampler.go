package hashwork

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/cryptnono/cryptnono/internal/health"
	"github.com/cryptnono/cryptnono/internal/kernelbtf"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// A sampler samples what the CPUs compute, once its clock is set. The zero value can be closed.
type sampler struct {
	objs    bpfObjects
	clock   *clock
	samples *ringbuf.Reader
}

// open loads the kernel program. After an error, it must still be closed.
func (s *sampler) open() (err error) {
	if err := loadBpfObjects(&s.objs, &ebpf.CollectionOptions{Cache: kernelbtf.Cache}); err != nil {
		return fmt.Errorf("loading the hashwork program: %w", err)
	}
	if s.samples, err = ringbuf.NewReader(s.objs.Samples); err != nil {
		return fmt.Errorf("opening the ring buffer of samples: %w", err)
	}
	s.clock, err = newClock(s.objs.Tick)
	return err
}

// close stops the clock and frees all resources.
func (s *sampler) close() error {
	if s.clock != nil {
		s.clock.close()
	}
	var err error
	if s.samples != nil {
		err = s.samples.Close()
	}
	return errors.Join(err, s.objs.Close())
}

// take takes all samples from the ring buffer, and varies the clock. It must be called each
// drainInterval.
func (s *sampler) take(loop *health.Loop, visit func(sample)) error {
	if err := s.clock.vary(); err != nil {
		return err
	}
	s.samples.SetDeadline(time.Unix(1, 0)) // what is there is read without waiting
	var record ringbuf.Record
	for {
		err := s.samples.ReadInto(&record)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrClosed) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading samples: %w", err)
		}
		x, err := decodeSample(record.RawSample)
		if err != nil {
			loop.Failed(err)
			continue
		}
		visit(x)
	}
}

func (s *sampler) kernelCounts() (sampled, lost uint64, err error) {
	sums, err := verdict.ReadCounters(s.objs.Counters, int(bpfCounterCOUNTERS))
	if err != nil {
		return 0, 0, err
	}
	return sums[bpfCounterSAMPLED], sums[bpfCounterLOST_SAMPLE], nil
}
