/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The output of iterators over processes. internal/process decodes it. */
#pragma once

#include "kernel.h"
#include "process.h"

/* The cgroup of the previous process in the list, whose levels were written. User space sets
 * it to zero before each list. There is one list at a time. */
struct cgroup_key listed_cgroup;

/* Fills in p, and writes the bytes from extra to the end of p: without levels that its cgroup
 * does not have, and without any if it is the cgroup of the previous process. */
static __always_inline void list_process(struct seq_file *seq, void *extra, struct process *p, struct task_struct *task,
					 struct root *host)
{
	struct cgroup *cgroup = task_cgroup(task);
	struct cgroup_key key = {
		.id = BPF_CORE_READ(cgroup, kn, id),
		.hierarchy = BPF_CORE_READ(cgroup, root, hierarchy_id),
	};
	u64 size = (void *)p->cgroup.levels - extra, levels = 0;

	describe_process(p, task, host);
	p->same_cgroup = key.id == listed_cgroup.id && key.hierarchy == listed_cgroup.hierarchy;
	if (!p->same_cgroup) {
		describe_cgroup(&p->cgroup, cgroup);
		levels = p->cgroup.depth < CGROUP_LEVELS ? p->cgroup.depth : CGROUP_LEVELS;
		barrier_var(levels); /* or the compiler knows better than the verifier */
		if (levels > CGROUP_LEVELS)
			return;
	}
	/* If it does not fit, the kernel calls again with an empty buffer. */
	if (bpf_seq_write(seq, extra, size + levels * sizeof(p->cgroup.levels[0])))
		key.id = 0;
	listed_cgroup = key;
}
