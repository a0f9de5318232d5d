/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is responsible for a process, for fair.Owner in internal/fair. */
#pragma once

#include "kernel.h"
#include "process.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pid_namespace {
	struct user_namespace *user_ns;
	struct ns_common ns;
};

struct upid {
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level; /* 0 in the initial PID namespace */
	struct upid numbers[1];
};

struct task_struct___fair {
	struct pid *thread_pid;
};

#pragma clang attribute pop

#define USER_NAMESPACE_LEVELS 33 /* create_user_ns */

/*
 * The outermost PID namespace of a process, if root has made it, as a container's runtime does;
 * otherwise 0. What is inside of a container has many user ids. A set-user-ID program, such as
 * firejail, makes one for a user too: so a namespace in a user's cgroup does not count, of which he
 * can make many.
 */
static __always_inline u32 container_namespace(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ((struct task_struct___fair *)task, thread_pid);
	struct pid_namespace *ns;
	struct upid *first;

	if (!BPF_CORE_READ(pid, level))
		return 0;
	/* CO-RE refuses an index beyond the array, which has one member before 6.5. */
	first = (void *)pid + bpf_core_field_offset(struct pid, numbers) + bpf_core_type_size(struct upid);
	ns = BPF_CORE_READ(first, ns);
	if (BPF_CORE_READ(ns, user_ns, level) || BPF_CORE_READ(task_cgroup(task), kn, iattr, ia_uid.val))
		return 0;
	return BPF_CORE_READ(ns, ns.inum);
}

/*
 * A user id, or the inode number of a namespace, which no user id is like (PROC_DYNAMIC_FIRST). A
 * user has 65,536 ids in user namespaces, so these are those of who made the outermost. One that
 * root made is a container's.
 */
static __always_inline u32 responsible(struct task_struct *task)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);
	struct user_namespace *ns = BPF_CORE_READ(cred, user_ns);
	u32 id = container_namespace(task);

	if (id)
		return id;
	if (!BPF_CORE_READ(ns, level))
		return BPF_CORE_READ(cred, uid.val);
	for (u32 i = 1; i < USER_NAMESPACE_LEVELS && BPF_CORE_READ(ns, level) > 1; i++)
		ns = BPF_CORE_READ(ns, parent);
	id = BPF_CORE_READ(ns, owner.val);
	return id ? id : BPF_CORE_READ(ns, ns.inum);
}
