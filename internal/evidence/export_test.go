package evidence

import "time"

// WaitLonger lets kills wait longer for a file, since a busy machine can take more than 20 ms.
func (c *Collector) WaitLonger(d time.Duration) { c.openTime = d }
