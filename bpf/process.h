/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who a process is: what cannot be asked any more once it is dead. */
#pragma once

#include "kernel.h"

#define CGROUP_LEVELS 8
#define CGROUP_NAME 256 /* NAME_MAX and a NUL */
#define CGROUP_DEPTH 64

/* Where a cgroup is. Only the levels next to the root are kept: the runtime has
 * named them, and those below a container's own are for strangers to name. */
struct cgroup_path {
	u32 hierarchy; /* 0 for cgroup v2, a number for each of v1 */
	u32 depth;     /* levels below the root; beyond CGROUP_DEPTH none is kept */
	struct {
		u64 id;
		char name[CGROUP_NAME];
	} levels[CGROUP_LEVELS]; /* from the root, without it, downwards */
};

/* Decoded by internal/process, event.go. */
struct process {
	u64 start_ns; /* since boot, as field 22 of /proc/PID/stat */
	u32 pid;      /* thread group, in the initial PID namespace */
	u32 ppid;
	u32 uid; /* in the initial user namespace */
	u32 pad;
	struct cgroup_path cgroup;
};

/* A function of its own: inlined into a loop, both places are computed before it,
 * and the verifier refuses the one that does not exist. */
static __noinline __attribute__((unused)) struct kernfs_node *kernfs_parent(struct kernfs_node *kn)
{
	if (bpf_core_field_exists(struct kernfs_node, parent))
		return BPF_CORE_READ(kn, parent);
	return BPF_CORE_READ((struct kernfs_node___6_15 *)kn, __parent);
}

#define SUBSYS_EXISTS(name) bpf_core_enum_value_exists(enum cgroup_subsys_id, name##_cgrp_id)
#define SUBSYS_ID(name) bpf_core_enum_value(enum cgroup_subsys_id, name##_cgrp_id)

/* The process's cgroup: v2's, or where that is the root v1's of a controller that
 * container runtimes always use. */
static __always_inline struct cgroup *task_cgroup(struct task_struct *task)
{
	struct css_set *css = BPF_CORE_READ(task, cgroups);
	struct cgroup *cgroup = BPF_CORE_READ(css, dfl_cgrp);

	if (!BPF_CORE_READ(cgroup, level) && SUBSYS_EXISTS(pids))
		cgroup = BPF_CORE_READ(css, subsys[SUBSYS_ID(pids)], cgroup);
	if (!BPF_CORE_READ(cgroup, level) && SUBSYS_EXISTS(memory))
		cgroup = BPF_CORE_READ(css, subsys[SUBSYS_ID(memory)], cgroup);
	return cgroup;
}

static __always_inline void describe_cgroup(struct cgroup_path *p, struct cgroup *cgroup)
{
	struct kernfs_node *kn = BPF_CORE_READ(cgroup, kn);
	u32 level = BPF_CORE_READ(cgroup, level);

	p->hierarchy = BPF_CORE_READ(cgroup, root, hierarchy_id);
	p->depth = level;
	for (u32 i = 0; i < CGROUP_DEPTH - CGROUP_LEVELS && level > CGROUP_LEVELS && kn; i++) {
		kn = kernfs_parent(kn);
		level--;
	}
	/* A place each in the code: the verifier of 5.10 loses itself in an index. */
#pragma unroll
	for (int at = CGROUP_LEVELS - 1; at >= 0; at--) {
		if (level != at + 1 || !kn)
			continue;
		p->levels[at].id = BPF_CORE_READ(kn, id);
		bpf_probe_read_kernel_str(p->levels[at].name, CGROUP_NAME, BPF_CORE_READ(kn, name));
		kn = kernfs_parent(kn);
		level = at;
	}
}

static __always_inline void describe_process(struct process *p, struct task_struct *task)
{
	p->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	p->pid = BPF_CORE_READ(task, tgid);
	p->ppid = BPF_CORE_READ(task, real_parent, tgid);
	p->uid = BPF_CORE_READ(task, cred, uid.val);
	p->pad = 0;
	describe_cgroup(&p->cgroup, task_cgroup(task));
}
