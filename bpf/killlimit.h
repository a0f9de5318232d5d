/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kill limit: how many victims a rule may have, and how many kills a minute the node and
 * each container. All detectors count in the same maps, which internal/killlimit owns.
 */
#pragma once

#include "kernel.h"
#include "process.h"

struct kill_limits {
	u64 cooldown_ns; /* without a kill, after which a limit is reset */
	u32 node;	 /* kills a minute, 0 for no limit */
	u32 container;	 /* the same in each container */
	u32 victims;	 /* of a rule within a minute, 0 for no limit */
	u32 cooldown_s;	 /* after which a rule kills again */
	u32 warm_up_s;	 /* in which the victims of a rule are not forgotten */
	u32 counted;	 /* enum counted: the kills in made_kills */
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

/* Which kills are counted, for internal/escalate. */
enum counted {
	COUNT_NONE,
	COUNT_CONTAINERS,
	COUNT_SESSIONS, /* and those outside of containers */
};

#define SESSION_LEVEL 3
#define LAST_KILLS 8

/* A process: its pid, and below 32 bits of its start time in TICK_NS. */
#define TICK_NS 10000000ULL

/* The kills that were made in a container. Each process counts once. */
struct made_kills {
	u64 kills;
	u64 last_ns;
	u32 rule; /* of the last kill */
	u32 pad;
	struct {
		u64 process;
		u64 parent;
	} last[LAST_KILLS]; /* by the number of the kill; two at the same time may be in one place */
};

/* By the cgroup of the container, outside of containers by that of the third level, which is
 * systemd's in user.slice. User space deletes those without a kill for some time. If it is full,
 * kills in other containers are not counted. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct cgroup_key);
	__type(value, struct made_kills);
} made_kill_map SEC(".maps");

/* How many were not counted. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} uncounted_kills SEC(".maps");

static const struct made_kills no_kills;

/* Counts a kill, whose process and parent are as in made_kills. */
static __always_inline void note_kill(struct cgroup_key *key, u32 rule, u64 process, u64 parent)
{
	struct made_kills *m = bpf_map_lookup_elem(&made_kill_map, key);
	u32 zero = 0, at;

	if (!m) {
		bpf_map_update_elem(&made_kill_map, key, &no_kills, BPF_NOEXIST);
		m = bpf_map_lookup_elem(&made_kill_map, key);
	}
	if (!m) {
		u64 *n = bpf_map_lookup_elem(&uncounted_kills, &zero);

		if (n)
			__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
		return;
	}
	for (u32 i = 0; i < LAST_KILLS; i++) {
		if (m->last[i].process == process)
			return;
	}
	at = m->kills % LAST_KILLS;
	__atomic_fetch_add(&m->kills, 1, __ATOMIC_RELAXED);
	m->last[at].process = process;
	m->last[at].parent = parent;
	m->rule = rule;
	m->last_ns = bpf_ktime_get_ns();
}

#define MINUTE_S 60
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
		/* Another CPU may have written a later time. */
		bool hot = (s64)(now - c->last_ns) < (s64)cooldown_ns;

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

/*
 * The victims of a rule. Each has a slot, which follows from what it is, and in it the second
 * in which the rule last hit it. A victim that is hit often, or on several CPUs at once, writes
 * to one slot only, so it counts once. Two that share a slot count as one: the rule may then
 * have a few victims more.
 */
#define VICTIM_SLOTS 64

struct rule_victims {
	u32 since_s;   /* when user space added the rule */
	u32 stopped_s; /* when it last had too many victims, 0 for never */
	u32 hit_s[VICTIM_SLOTS];
};

/* User space adds all rules that kill, and removes them: no process can fill this map. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, struct rule_victims);
} rule_kills SEC(".maps");

/* How often a rule was stopped, so that user space needs to look only then. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} rule_stops SEC(".maps");

#define SECOND_NS 1000000000ULL

/* From 1 on. */
static __always_inline u32 now_in_seconds(void)
{
	return bpf_ktime_get_ns() / SECOND_NS + 1;
}

static __always_inline bool is_stopped(struct kill_limits *l, struct rule_victims *r, u32 now_s)
{
	return r->stopped_s && now_s - r->stopped_s < l->cooldown_s;
}

/* Whether a rule is stopped. It does not count. */
static __always_inline bool is_rule_stopped(u32 rule)
{
	struct rule_victims *r = bpf_map_lookup_elem(&rule_kills, &rule);
	struct kill_limits *l = limits();

	return l && l->victims && r && is_stopped(l, r, now_in_seconds());
}

/* Counts a victim of a rule, and reports whether the rule is stopped. Rule 0 has no limit.
 * Global, so that it is verified once, and for its own part of the stack. */
__noinline int count_victim(u32 rule, u32 slot)
{
	u32 zero = 0, now_s = now_in_seconds(), from_s, victims = 0;
	struct rule_victims *r = bpf_map_lookup_elem(&rule_kills, &rule);
	struct kill_limits *l = limits();
	bool warm;

	if (!l || !l->victims || !r)
		return 0;
	warm = now_s - r->since_s < l->warm_up_s;
	from_s = now_s > MINUTE_S ? now_s - MINUTE_S + 1 : 1;
	if (warm && r->since_s < from_s)
		from_s = r->since_s;
	r->hit_s[slot % VICTIM_SLOTS] = now_s;
	for (u32 i = 0; i < VICTIM_SLOTS; i++)
		victims += r->hit_s[i] >= from_s;
	if (victims > l->victims) {
		bool was = is_stopped(l, r, now_s);
		u64 *stops = bpf_map_lookup_elem(&rule_stops, &zero);

		r->stopped_s = now_s;
		if (!was && stops)
			__atomic_fetch_add(stops, 1, __ATOMIC_RELAXED);
		return 1;
	}
	return is_stopped(l, r, now_s);
}

enum victim {
	VICTIM_CGROUP, /* a container, by its cgroup */
	VICTIM_USER,   /* by its uid */
	VICTIM_FILE,   /* a program of root, by its file */
};

/* The slot of a victim. internal/killlimit has the same. */
static __always_inline u32 victim_slot(enum victim kind, u64 id)
{
	return (id ^ (u64)kind << 56) * 0x9e3779b97f4a7c15ULL >> 58; /* there are 1 << 6 */
}

/* A user namespace nests so deep: create_user_ns. */
#define USER_NAMESPACES 34

/* The user that a process belongs to: the one that made the outermost of its user namespaces,
 * as a user has many ids inside. */
static __always_inline u32 user_of(struct task_struct *task, bool *inside)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);
	struct user_namespace *ns = BPF_CORE_READ(cred, user_ns);
	u32 uid = BPF_CORE_READ(cred, uid.val);

	*inside = false;
	for (u32 i = 0; i < USER_NAMESPACES && BPF_CORE_READ(ns, level); i++) {
		*inside = true;
		uid = BPF_CORE_READ(ns, owner.val);
		ns = BPF_CORE_READ(ns, parent);
	}
	return uid;
}

/* Counts a kill that is about to be made, and reports whether a limit of all rules forbids it.
 * key is that of the container. */
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
