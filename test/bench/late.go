package main

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// late runs f and its child processes on the last CPU, and returns the delays in seconds of the
// wake-ups of a thread with the highest priority there.
func late(f func() error) (delays []float64, err error) {
	var last unix.CPUSet
	last.Set(runtime.NumCPU() - 1)
	stop := make(chan struct{})
	began, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // and ends with the goroutine
		if err := first(&last); err != nil {
			began <- err
			return
		}
		began <- nil
		const nap = 200 * time.Microsecond
		sleep := unix.NsecToTimespec(nap.Nanoseconds())
		for {
			select {
			case <-stop:
				return
			default:
			}
			begin := time.Now()
			_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &sleep, nil)
			delays = append(delays, (time.Since(begin) - nap).Seconds())
		}
	}()
	if err := <-began; err != nil {
		return nil, err
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.SchedSetaffinity(0, &last) // inherited by child processes
		if err == nil {
			err = f()
		}
		done <- err
	}()
	err = <-done
	close(stop)
	<-ended
	return delays, err
}

// first pins the calling thread to a CPU, with the highest priority there.
func first(cpu *unix.CPUSet) error {
	if err := unix.SchedSetaffinity(0, cpu); err != nil {
		return fmt.Errorf("staying on a CPU: %w", err)
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 50}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("becoming a real-time thread (as process %d): %w", os.Getpid(), err)
	}
	return nil
}
