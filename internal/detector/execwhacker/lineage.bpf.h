/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ancestors of a process that the kernel kills. They may end with it, as a shell that runs
 * only this program does. */
#pragma once

#include "kernel.h"
#include "process.h"

#define ANCESTORS 8

/* Decoded in lineage.go. */
struct ancestor {
	u64 start_ns;
	u64 cgroup; /* id of its own */
	u32 pid;
	u32 uid;
	char program[40]; /* name of its file */
};

struct lineage {
	struct ancestor list[ANCESTORS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct lineage);
} lineages SEC(".maps");

static __always_inline struct lineage *lineage(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&lineages, &zero);
}

/* Notes the ancestors of the current process, the nearest first, and returns how many. Global, so
 * that it is verified once, and for its own part of the stack. */
__noinline int note_ancestors(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct lineage *l = lineage();

	if (!l)
		return 0;
#pragma unroll
	for (int i = 0; i < ANCESTORS; i++) {
		struct ancestor *a = &l->list[i];

		task = BPF_CORE_READ(task, real_parent, group_leader);
		a->pid = BPF_CORE_READ(task, tgid);
		if (!a->pid)
			return i;
		a->start_ns = BPF_CORE_READ(task, start_boottime);
		a->uid = BPF_CORE_READ(task, cred, uid.val);
		a->cgroup = BPF_CORE_READ(task_cgroup(task), kn, id);
		if (bpf_probe_read_kernel_str(a->program, sizeof(a->program),
					      BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_name.name)) < 0)
			a->program[0] = 0; /* it has no file any more */
	}
	return ANCESTORS;
}
