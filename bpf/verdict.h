/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end of a verdict that is made in the kernel: exemptions, the kill limit, the kill,
 * its counter, and the event that user space logs. internal/verdict is the same in user
 * space, and reads the counters and the events.
 */
#pragma once

#include "kernel.h"
#include "process.h"
#include "counters.h"
#include "exempt.h"
#include "killlimit.h"
#include "lineage.h"

/* Also the indices of counters. */
enum outcome {
	NO_MATCH,
	ALLOWED,
	OBSERVED,
	BANNED,
	UNDECIDED, /* user space must judge */
	/* What becomes of BANNED and OBSERVED: */
	EXEMPT,
	UNKNOWN_CONTAINER, /* user space must find out whether it is exempt */
	LIMITED,
	OUTCOMES,
	AWAITED, /* no outcome yet: user space is to find out about the container */
};

enum counter {
	LOST_EVENT = OUTCOMES,
	KILL_FAILED,
	OWN_COUNTERS, /* from here on, the detector's own */
};

/* The slot of what a kill of the current process hits: the container; outside of containers the user, or,
 * of root on the node, the program. So a user or a container counts once. Of unknown cgroups, whose number
 * a user may choose, all in one of the first level count once. Global, so that it is verified once. */
__noinline u32 slot_of_victim(u32 class, u64 id, u64 hierarchy, u64 inode, u64 device)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct exemptions *e = exemptions();
	bool inside;
	u32 uid;

	if (class == CGROUP_UNKNOWN)
		id = ancestor_id(task_cgroup(task), 1); /* the root is never unknown */
	if (class == CGROUP_UNKNOWN || class == CGROUP_CONTAINER)
		return victim_slot(VICTIM_CGROUP, id ^ hierarchy << 48);
	uid = user_of(task, &inside);
	if (e && !uid && !inside && is_root_on_host(task, &e->host))
		return victim_slot(VICTIM_FILE, inode ^ device << 24);
	return victim_slot(VICTIM_USER, uid);
}

/* A process as in made_kills. Each member is read to the same place, for little stack. */
static __always_inline u64 instance(struct task_struct *task)
{
	u64 v = 0, id;

	bpf_core_read(&v, sizeof(v), &task->group_leader);
	task = (void *)v;
	v = 0;
	bpf_core_read(&v, sizeof(task->tgid), &task->tgid);
	id = v << 32;
	bpf_core_read(&v, sizeof(v), &task->start_boottime);
	id |= (u32)(v / TICK_NS);
	barrier_var(id); /* or more values live on */
	return id;
}

/* The id of the cgroup of the third level of the current process, 0 for none. */
__noinline u64 session(void)
{
	struct cgroup *cgroup = task_cgroup((void *)bpf_get_current_task());

	return BPF_CORE_READ(cgroup, level) < SESSION_LEVEL ? 0 : ancestor_id(cgroup, SESSION_LEVEL);
}

/* Counts the kill of the current process. This function and the one above are global, so that they
 * are verified once, and one after the other, so that each has at most 32 bytes of stack. */
__noinline int count_kill(u64 id, u64 hierarchy, u32 rule)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct cgroup_key key = {.id = id, .hierarchy = hierarchy};

	note_kill(&key, rule, instance(task), instance(BPF_CORE_READ(task, real_parent)));
	return 0;
}

/* What a verdict of the rules about the current process comes to. rule is its number, as
 * internal/killlimit gave it, 0 for none. path is that of the program, as it was executed, 0 if that is
 * not known. */
static __always_inline enum outcome decide(enum outcome found, u32 rule, struct task_struct *task, struct file_id *file,
					   const char *path)
{
	struct exemptions *e = exemptions();
	struct cgroup_key key = {};
	struct kill_limits *l;
	enum cgroup_class class;

	if (!e || (found != BANNED && found != OBSERVED))
		return found;
	if (exempt_program(e, task, file, path))
		return EXEMPT;
	class = classify(task, &key);
	if (class == CGROUP_EXEMPT)
		return EXEMPT;
	if (found == OBSERVED)
		return OBSERVED;
	if (class == CGROUP_UNKNOWN && e->by_cgroup)
		return UNKNOWN_CONTAINER;
	l = limits();
	if (l && l->victims && rule &&
	    count_victim(rule, slot_of_victim(class, key.id, key.hierarchy, file->inode, file->device)))
		return LIMITED;
	if (l && is_limited(l, &key))
		return LIMITED;
	if (l && l->counted) {
		if (class == CGROUP_HOST)
			key.id = l->counted == COUNT_SESSIONS ? session() : 0;
		if (key.id)
			count_kill(key.id, key.hierarchy, rule);
	}
	return BANNED;
}

/* Counts what decide returned, and kills the current process if it is BANNED. Returns 0 or
 * a negative errno of the kill. */
static __always_inline s32 carry_out(enum outcome outcome)
{
	s32 err = 0;

	count(outcome);
	if (outcome == BANNED) {
		err = bpf_send_signal(SIGKILL);
		if (err)
			count(KILL_FAILED);
	}
	return err;
}

/* The beginning of each event. The first text of an event are the names of the cgroups, each ended by
 * a NUL; then, of a process that was killed here, its ancestors and working directory. */
struct event_head {
	struct who who;
	struct file_id file;
	u64 took_ns; /* from the hook, or the start of a search, to the verdict */
	u64 cgroups[CGROUP_LEVELS];
	u32 hierarchy; /* see struct cgroup_path */
	u32 depth;
	u32 outcome;
	s32 kill_error; /* negative errno */
	u32 ancestors;	/* how many */
	u16 directory_len;
	u8 directory_end; /* enum way_up */
	u8 directory_removed;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, AREAS);
	__type(key, u32);
	__type(value, struct cgroup_path);
} cgroup_paths SEC(".maps");

#define CGROUP_NAMES (CGROUP_LEVELS * CGROUP_NAME)	  /* a power of 2 */
#define HEAD_TEXT (CGROUP_NAMES + sizeof(struct lineage)) /* more than describe_head needs */

/* Appends the names of the cgroups to the text at its start. Returns their length. */
static __always_inline u32 append_cgroups(u32 area, struct event_head *h, u8 *text, struct task_struct *task)
{
	u32 at = 0;
	struct cgroup_path *p = bpf_map_lookup_elem(&cgroup_paths, &area);

	if (!p)
		return 0;
	describe_cgroup(p, task_cgroup(task));
	h->hierarchy = p->hierarchy;
	h->depth = p->depth;
	for (u32 i = 0; i < CGROUP_LEVELS && i < p->depth; i++) {
		long n;

		h->cgroups[i] = p->levels[i].id;
		if (!h->cgroups[i])
			break; /* the levels after it are of an earlier event */
		n = bpf_probe_read_kernel_str(text + (at & (CGROUP_NAMES - 1)), CGROUP_NAME, p->levels[i].name);
		at += n > 0 ? n : 0;
	}
	return at;
}

/* Copies n bytes, at most limit, to the text. Returns how many. */
static __always_inline u32 append(u8 *text, u32 n, u32 limit, const void *from)
{
	barrier_var(n); /* or a copy of it would be compared */
	if (n > limit || bpf_probe_read_kernel(text, n, from))
		return 0;
	return n;
}

/* Appends the ancestors and the working directory of the current process to the text. Returns how
 * long it is then. */
static __always_inline u32 append_lineage(u32 area, struct event_head *h, u8 *text, u32 at)
{
	struct lineage *l = lineage_in(area);
	u32 n;

	barrier_var(at);
	if (!l || at > CGROUP_NAMES)
		return at;
	n = append(text + at, note_ancestors(area) * sizeof(struct ancestor), sizeof(l->list), l->list);
	h->ancestors = n / sizeof(struct ancestor);
	at += n;
	h->directory_end = note_directory(area);
	h->directory_removed = l->removed;
	n = append(text + at, l->directory_len, sizeof(l->directory), l->directory);
	h->directory_len = n;
	return at + n;
}

/* Fills in who the current process is, and writes the first text, which has room for HEAD_TEXT, if h has
 * the outcome already. Returns its length. Nothing else may use the area. */
static __always_inline u32 describe_head_in(u32 area, struct event_head *h, u8 *text, struct task_struct *task)
{
	struct exemptions *e = exemptions();
	u32 at;

	__builtin_memset(h->cgroups, 0, sizeof(h->cgroups));
	h->ancestors = h->directory_len = h->directory_end = h->directory_removed = 0;
	if (!e)
		return 0;
	describe_who(&h->who, task, &e->host);
	at = append_cgroups(area, h, text, task);
	return h->outcome == BANNED && !h->kill_error ? append_lineage(area, h, text, at) : at;
}

/* The same in the only area. */
static __always_inline u32 describe_head(struct event_head *h, u8 *text, struct task_struct *task)
{
	return describe_head_in(0, h, text, task);
}
