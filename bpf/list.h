/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What iterators write of a process. internal/process reads it. */
#pragma once

#include "kernel.h"
#include "process.h"

/* The cgroup of the process before, of which the levels are in the list. User space makes it
 * zero before each list, of which there is one at a time. */
struct cgroup_key listed_cgroup;

/* Writes the bytes from extra on, and p behind them, which it fills in: without levels that
 * its cgroup does not have, and without all if they are those of the process before. */
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
	/* What does not fit is written once more, as the first in the next buffer. */
	if (bpf_seq_write(seq, extra, size + levels * sizeof(p->cgroup.levels[0])))
		key.id = 0;
	listed_cgroup = key;
}
