package hashwork

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
)

// A clock runs a program at a rate on each CPU that is online. The time between two ticks varies,
// so that no process can sleep at each tick and never be sampled. It is safe for concurrent use.
type clock struct {
	program *ebpf.Program

	mu   sync.Mutex
	rate int   // ticks a second
	cpus []cpu // by number
}

// A cpu is the clock of one CPU.
type cpu struct {
	event int    // file descriptor, -1 if it does not run
	ran   uint64 // nanoseconds at the last refresh
}

func newClock(program *ebpf.Program) (*clock, error) {
	n, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, fmt.Errorf("counting the CPUs: %w", err)
	}
	return &clock{program: program, cpus: slices.Repeat([]cpu{{event: -1}}, n)}, nil
}

// set sets the rate of the clock, and starts it where it does not run.
func (c *clock) set(rate int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if rate != c.rate {
		for n := range c.cpus {
			c.stop(n)
		}
		c.rate = rate
	}
	return c.update()
}

// refresh starts the clock on CPUs that came online, also on one that was offline for a moment:
// the kernel removes the events of a CPU that goes offline. It must be called from time to time.
func (c *clock) refresh() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := range c.cpus {
		if c.cpus[n].event < 0 {
			continue
		}
		ran, err := timeRunning(c.cpus[n].event)
		if err != nil {
			return fmt.Errorf("reading the clock of CPU %d: %w", n, err)
		}
		if ran == c.cpus[n].ran {
			c.stop(n)
		}
		c.cpus[n].ran = ran
	}
	return c.update()
}

// vary gives each CPU another time between two ticks, which begins now. It must be called after a
// few ticks: a process that sees them happen then knows the next ones. On average, there are as many
// ticks as the rate says.
func (c *clock) vary() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := range c.cpus {
		if c.cpus[n].event < 0 {
			continue
		}
		period := uint64(float64(time.Second) / (float64(c.rate) * (0.75 + rand.Float64()/2)))
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.cpus[n].event), unix.PERF_EVENT_IOC_PERIOD, uintptr(unsafe.Pointer(&period))); errno != 0 {
			return fmt.Errorf("varying the clock of CPU %d: %w", n, errno)
		}
	}
	return nil
}

// timeRunning returns for how long an event has run, in nanoseconds. The time of a CPU's event
// goes on while the CPU is idle, where some kernels run no program at a tick.
func timeRunning(event int) (uint64, error) {
	var read struct{ count, timeRunning uint64 } // PERF_FORMAT_TOTAL_TIME_RUNNING in perf_event_open(2)
	buf := (*[unsafe.Sizeof(read)]byte)(unsafe.Pointer(&read))[:]
	n, err := unix.Read(event, buf)
	if err == nil && n != len(buf) {
		err = io.ErrUnexpectedEOF
	}
	return read.timeRunning, err
}

// update starts the clock on all CPUs that are online and do not have it.
func (c *clock) update() error {
	for n := range c.cpus {
		if c.cpus[n].event >= 0 {
			continue
		}
		event, err := c.start(n)
		if errors.Is(err, unix.ENODEV) { // it is offline
			continue
		}
		if err != nil {
			return fmt.Errorf("starting the clock of CPU %d: %w", n, err)
		}
		c.cpus[n] = cpu{event: event}
	}
	return nil
}

func (c *clock) start(n int) (event int, err error) {
	attr := unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK,
		Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Sample: uint64(int(time.Second) / c.rate),
		Read_format: unix.PERF_FORMAT_TOTAL_TIME_RUNNING,
	}
	event, err = unix.PerfEventOpen(&attr, -1, n, -1, unix.PERF_FLAG_FD_CLOEXEC)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES): // the agent has CAP_PERFMON
		return 0, fmt.Errorf("perf_event_open: %w: a seccomp profile or a security module blocks it: %w", err, detector.ErrUnsupported)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOSYS):
		return 0, fmt.Errorf("perf_event_open: %w: the kernel has no CONFIG_PERF_EVENTS: %w", err, detector.ErrUnsupported)
	case err != nil:
		return 0, fmt.Errorf("perf_event_open: %w", err)
	}
	err = unix.IoctlSetInt(event, unix.PERF_EVENT_IOC_SET_BPF, c.program.FD())
	if err == nil {
		err = unix.IoctlSetInt(event, unix.PERF_EVENT_IOC_ENABLE, 0)
	}
	if err != nil {
		unix.Close(event)
		return 0, fmt.Errorf("attaching the program: %w", err)
	}
	return event, nil
}

func (c *clock) stop(n int) {
	if c.cpus[n].event >= 0 {
		unix.Close(c.cpus[n].event)
	}
	c.cpus[n].event = -1
}

// close stops the clock.
func (c *clock) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := range c.cpus {
		c.stop(n)
	}
}
