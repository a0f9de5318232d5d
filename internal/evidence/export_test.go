package evidence

import "time"

// WaitLonger lets kills wait longer for a file, since a busy machine can take more than 20 ms.
func (c *Collector) WaitLonger(d time.Duration) { c.openTime = d }

// Falsify changes all hashes that are kept, and returns their number.
func (c *Collector) Falsify() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, p := range c.known {
		p.SHA256 = make([]byte, len(p.SHA256))
		c.known[key] = p
	}
	return len(c.known)
}
