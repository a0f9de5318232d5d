/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who a process is: what cannot be asked any more once it is dead. */
#pragma once

#include "kernel.h"

#define CGROUP_LEVELS 8
#define CGROUP_NAME 128

/* Decoded by internal/process, event.go. */
struct process {
	u64 start_ns; /* since boot, as field 22 of /proc/PID/stat */
	u64 cgroup_id;
	u32 pid; /* thread group, in the initial PID namespace */
	u32 ppid;
	u32 uid; /* in the initial user namespace */
	u32 pad;
	/* from the process's cgroup upwards, empty at the root */
	char cgroup[CGROUP_LEVELS][CGROUP_NAME];
};

static __always_inline struct kernfs_node *kernfs_parent(struct kernfs_node *kn)
{
	if (bpf_core_field_exists(struct kernfs_node, parent))
		return BPF_CORE_READ(kn, parent);
	return BPF_CORE_READ((struct kernfs_node___6_15 *)kn, __parent);
}

/* The process's cgroup: v2's, or where that is the root v1's of a controller that
 * container runtimes always use. */
static __always_inline struct kernfs_node *task_cgroup(struct task_struct *task)
{
	struct css_set *css = BPF_CORE_READ(task, cgroups);
	struct kernfs_node *kn = BPF_CORE_READ(css, dfl_cgrp, kn);

	if (!kernfs_parent(kn) && bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id))
		kn = BPF_CORE_READ(css, subsys[bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id)], cgroup, kn);
	if (!kernfs_parent(kn) && bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		kn = BPF_CORE_READ(css, subsys[bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id)], cgroup, kn);
	return kn;
}

static __always_inline void describe_process(struct process *p, struct task_struct *task)
{
	struct kernfs_node *kn = task_cgroup(task);

	p->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	p->cgroup_id = BPF_CORE_READ(kn, id);
	p->pid = BPF_CORE_READ(task, tgid);
	p->ppid = BPF_CORE_READ(task, real_parent, tgid);
	p->uid = bpf_get_current_uid_gid();
	p->pad = 0;
	for (int i = 0; i < CGROUP_LEVELS; i++) {
		p->cgroup[i][0] = 0;
		if (!kn)
			continue;
		bpf_probe_read_kernel_str(p->cgroup[i], CGROUP_NAME, BPF_CORE_READ(kn, name));
		kn = kernfs_parent(kn);
	}
}
