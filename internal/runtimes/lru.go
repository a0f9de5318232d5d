package runtimes

import "container/list"

// An lru is a cache of the most recently used entries, with a limit of entries and bytes.
// It is not safe for concurrent use.
type lru[V any] struct {
	entries, bytes int // limits
	used           int // bytes
	order          *list.List
	byKey          map[string]*list.Element
}

type entry[V any] struct {
	key   string
	value V
	size  int
}

func newLRU[V any](entries, bytes int) *lru[V] {
	return &lru[V]{entries: entries, bytes: bytes, order: list.New(), byKey: make(map[string]*list.Element)}
}

func (l *lru[V]) get(key string) (V, bool) {
	if e, ok := l.byKey[key]; ok {
		l.order.MoveToFront(e)
		return e.Value.(*entry[V]).value, true
	}
	var none V
	return none, false
}

// put adds or replaces an entry of this size in bytes, and evicts the least recently used
// ones above the limits.
func (l *lru[V]) put(key string, value V, size int) {
	l.remove(key)
	l.byKey[key] = l.order.PushFront(&entry[V]{key, value, size})
	l.used += size
	for l.order.Len() > l.entries || l.used > l.bytes {
		l.remove(l.order.Back().Value.(*entry[V]).key)
	}
}

func (l *lru[V]) remove(key string) {
	if e, ok := l.byKey[key]; ok {
		delete(l.byKey, key)
		l.order.Remove(e)
		l.used -= e.Value.(*entry[V]).size
	}
}

func (l *lru[V]) len() int { return l.order.Len() }
