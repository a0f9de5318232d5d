package attacks

import (
	"sync"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// watchMemory samples the memory of an agent until the returned function is called, which returns
// the maximum in MiB.
func watchMemory(t *testing.T, a *agenttest.Agent) (peak func() int) {
	t.Helper()
	stop, most := make(chan struct{}), make(chan int)
	go func() {
		mib := 0
		for {
			mib = max(mib, a.MemoryMiB())
			select {
			case <-stop:
				most <- max(mib, a.MemoryMiB())
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	peak = sync.OnceValue(func() int {
		close(stop)
		return <-most
	})
	t.Cleanup(func() { peak() })
	return peak
}
