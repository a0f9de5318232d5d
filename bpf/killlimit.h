/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kill limit: how many kills a minute the node and each container may have. All
 * detectors count in the same maps, which internal/killlimit owns.
 */
#pragma once

#include "kernel.h"
#include "process.h"

struct kill_limits {
	u64 cooldown_ns; /* without a kill, after which a limit is reset */
	u32 node;	 /* kills a minute, 0 for no limit */
	u32 container;	 /* the same in each container */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct kill_limits);
} kill_limit_map SEC(".maps");

/* Kills in a span of a minute that begins with the first. */
struct kill_count {
	u64 began_ns;
	u64 kills;
	u64 reached_ns; /* when the limit was reached, 0 while it is not */
	u64 last_ns;	/* of the last kill, made or suppressed */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct kill_count);
} node_kills SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct cgroup_key);
	__type(value, struct kill_count);
} container_kills SEC(".maps");

#define MINUTE_NS 60000000000ULL

static __always_inline struct kill_limits *limits(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&kill_limit_map, &zero);
}

static __always_inline bool is_reached(struct kill_count *c, u32 limit, u64 cooldown_ns)
{
	u64 now = bpf_ktime_get_ns();

	if (c->reached_ns) {
		bool hot = now - c->last_ns < cooldown_ns;

		c->last_ns = now;
		if (hot)
			return true;
		c->reached_ns = 0;
		c->began_ns = now; /* and not 0, which is less than a minute ago soon after boot */
		c->kills = 0;
	}
	if (now - c->began_ns >= MINUTE_NS) {
		c->began_ns = now;
		c->kills = 0;
	}
	c->last_ns = now;
	__atomic_fetch_add(&c->kills, 1, __ATOMIC_RELAXED);
	if (c->kills <= limit)
		return false;
	c->reached_ns = now;
	return true;
}

/* Counts a kill that is about to be made, and reports whether a limit forbids it. key is
 * that of the container. */
static __always_inline bool is_limited(struct kill_limits *l, struct cgroup_key *key)
{
	u32 zero = 0;
	struct kill_count *c;

	if (l->container) {
		c = bpf_map_lookup_elem(&container_kills, key);
		if (!c) {
			struct kill_count fresh = {};

			bpf_map_update_elem(&container_kills, key, &fresh, BPF_NOEXIST);
			c = bpf_map_lookup_elem(&container_kills, key);
		}
		if (c && is_reached(c, l->container, l->cooldown_ns))
			return true;
	}
	if (!l->node)
		return false;
	c = bpf_map_lookup_elem(&node_kills, &zero);
	return c && is_reached(c, l->node, l->cooldown_ns);
}
