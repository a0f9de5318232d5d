/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The identity of a process. Events contain it because the process may have ended by the time
 * user space reads them. */
#pragma once

#include "kernel.h"

#define CGROUP_LEVELS 8
#define CGROUP_NAME 256 /* NAME_MAX and a NUL */
#define CGROUP_DEPTH 64

/* The path of a cgroup. Only the first CGROUP_LEVELS levels below the root are recorded. Those
 * of a container are among them; processes in the container can name those below. */
struct cgroup_path {
	u32 hierarchy; /* 0 for cgroup v2, an id for each of v1 */
	u32 depth;     /* number of levels; before 6.1, none is recorded if it exceeds CGROUP_DEPTH */
	struct {
		u64 id; /* with OF_USER */
		char name[CGROUP_NAME];
	} levels[CGROUP_LEVELS]; /* from the one below the root downwards */
};

/* Added to the id of a level that does not belong to root. Ids are counted from 1. */
#define OF_USER (1ULL << 63)

/* Cgroup ids are unique within a hierarchy. */
struct cgroup_key {
	u64 id;
	u64 hierarchy;
};

struct who {
	u64 start_ns; /* since boot: field 22 of /proc/PID/stat */
	u32 pid;      /* thread group, in the initial PID namespace */
	u32 ppid;
	u32 uid;	  /* in the initial user namespace */
	u32 root_on_host; /* see is_root_on_host */
};

/* Identifies a file, independent of its path. Inode numbers are reused, but with another
 * generation. */
struct file_id {
	u64 inode;
	u32 device; /* s_dev */
	u32 generation;
};

/* The root directory of a process. mount and directory are addresses in the kernel, used only
 * for comparison. A process with the root of init has the host's files. */
struct root {
	u64 mount;
	u64 directory;
	u64 mount_namespace; /* inode number */
};

/* Decoded by internal/process and internal/cgroup. */
struct process {
	struct who who;
	struct file_id file; /* its program; zero for a kernel thread */
	u32 file_deleted;
	u32 host_root;	 /* see has_host_root */
	u32 same_cgroup; /* see list_process */
	u32 pad;
	struct cgroup_path cgroup;
};

static __always_inline void identify(struct file_id *id, struct inode *inode)
{
	id->inode = BPF_CORE_READ(inode, i_ino);
	id->device = BPF_CORE_READ(inode, i_sb, s_dev);
	id->generation = BPF_CORE_READ(inode, i_generation);
}

/* Not inlined: in a loop, the compiler would compute both offsets before it, and the verifier
 * rejects the one that does not exist. */
static __noinline __attribute__((unused)) struct kernfs_node *kernfs_parent(struct kernfs_node *kn)
{
	if (bpf_core_field_exists(struct kernfs_node, parent))
		return BPF_CORE_READ(kn, parent);
	return BPF_CORE_READ((struct kernfs_node___6_15 *)kn, __parent);
}

#define SUBSYS_EXISTS(name) bpf_core_enum_value_exists(enum cgroup_subsys_id, name##_cgrp_id)
#define SUBSYS_ID(name) bpf_core_enum_value(enum cgroup_subsys_id, name##_cgrp_id)

/* The cgroup of a process: that of v2 or, if that is the root, that of a v1 controller that
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

static __always_inline bool has_ancestors(void)
{
	return bpf_core_field_exists(struct cgroup, ancestors);
}

/* Returns the cgroup itself for its own level. level must not exceed that. */
static __always_inline struct cgroup *ancestor(struct cgroup *cgroup, u32 level)
{
	struct cgroup *found = 0;

	bpf_probe_read_kernel(&found, sizeof(found),
			      (void *)cgroup + bpf_core_field_offset(struct cgroup, ancestors) + level * sizeof(found));
	return found;
}

static __always_inline u64 ancestor_id(struct cgroup *cgroup, u32 level)
{
	u64 id = 0;

	if (has_ancestors())
		return BPF_CORE_READ(ancestor(cgroup, level), kn, id);
	bpf_probe_read_kernel(&id, sizeof(id),
			      (void *)cgroup + bpf_core_field_offset(struct cgroup___6_0, ancestor_ids) +
				      level * sizeof(id));
	return id;
}

/* The id of a cgroup, and whether it belongs to a user: who makes one owns it (cgroup_mkdir), and
 * root can give it away. */
static __always_inline u64 id_and_owner(struct kernfs_node *kn)
{
	u64 id = BPF_CORE_READ(kn, id);

	if (BPF_CORE_READ(kn, iattr, ia_uid.val))
		id |= OF_USER;
	return id;
}

static __always_inline void describe_cgroup(struct cgroup_path *p, struct cgroup *cgroup)
{
	struct kernfs_node *kn = BPF_CORE_READ(cgroup, kn);
	u32 level = BPF_CORE_READ(cgroup, level);

	p->hierarchy = BPF_CORE_READ(cgroup, root, hierarchy_id);
	p->depth = level;
	if (has_ancestors()) {
		for (u32 i = 0; i < CGROUP_LEVELS && i < level; i++) {
			kn = BPF_CORE_READ(ancestor(cgroup, i + 1), kn);
			p->levels[i].id = id_and_owner(kn);
			bpf_probe_read_kernel_str(p->levels[i].name, CGROUP_NAME, BPF_CORE_READ(kn, name));
		}
		return;
	}
	if (level > CGROUP_DEPTH) {
		p->levels[0].id = 0; /* no level is recorded */
		return;
	}
	for (u32 i = 0; i < CGROUP_DEPTH - CGROUP_LEVELS && level > CGROUP_LEVELS && kn; i++) {
		kn = kernfs_parent(kn);
		level--;
	}
	/* Unrolled, because the verifier of 5.10 does not track a variable index here. */
#pragma unroll
	for (int at = CGROUP_LEVELS - 1; at >= 0; at--) {
		if (level != at + 1 || !kn)
			continue;
		p->levels[at].id = id_and_owner(kn);
		bpf_probe_read_kernel_str(p->levels[at].name, CGROUP_NAME, BPF_CORE_READ(kn, name));
		kn = kernfs_parent(kn);
		level = at;
	}
}

static __always_inline void locate_root(struct root *root, struct task_struct *task)
{
	root->mount = (u64)BPF_CORE_READ(task, fs, root.mnt);
	root->directory = (u64)BPF_CORE_READ(task, fs, root.dentry);
	root->mount_namespace = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
}

static __always_inline bool same_root(struct root *a, struct root *b)
{
	return a->mount == b->mount && a->directory == b->directory && a->mount_namespace == b->mount_namespace;
}

/*
 * Whether a path means to a process what it means to init: it is in the initial user namespace, and has
 * init's mount namespace and root directory. In another user namespace everybody may change the root
 * directory, and two processes can share one (CLONE_FS): so the path of a program need not have been looked up
 * below the root directory that the process has now.
 */
static __always_inline bool has_host_root(struct task_struct *task, struct root *host)
{
	struct root its;

	if (BPF_CORE_READ(task, cred, user_ns, ns.inum) != PROC_USER_INIT_INO)
		return false;
	locate_root(&its, task);
	return same_root(&its, host);
}

/*
 * Whether a process is root and sees what init sees: its effective user id is 0 in the initial
 * user namespace, and it has init's mount namespace and root directory. So a set-uid program
 * that a user runs is, sudo above all: its file is root's, though its arguments are the user's.
 * A daemon that acts for a user is not.
 */
static __always_inline bool is_root_on_host(struct task_struct *task, struct root *host)
{
	/* A user can be 0 in a namespace of his own, and a container's runtime can map 0 to 0. */
	return !BPF_CORE_READ(task, cred, euid.val) && has_host_root(task, host);
}

static __always_inline void describe_who(struct who *w, struct task_struct *task, struct root *host)
{
	w->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	w->pid = BPF_CORE_READ(task, tgid);
	w->ppid = BPF_CORE_READ(task, real_parent, tgid);
	w->uid = BPF_CORE_READ(task, cred, uid.val);
	w->root_on_host = is_root_on_host(task, host);
}

/* All but the cgroup. */
static __always_inline void describe_process(struct process *p, struct task_struct *task, struct root *host)
{
	struct inode *inode = BPF_CORE_READ(task, mm, exe_file, f_inode);

	describe_who(&p->who, task, host);
	identify(&p->file, inode);
	p->file_deleted = inode && !BPF_CORE_READ(inode, i_nlink);
	p->host_root = has_host_root(task, host);
	p->pad = 0;
}
