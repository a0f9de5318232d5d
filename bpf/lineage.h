/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Of a process that the kernel kills: its ancestors, which may end with it, as a shell does that
 * runs only this program, and its working directory. */
#pragma once

#include "kernel.h"
#include "process.h"

/* Scratch space of each CPU. A detector whose programs may run inside each other defines more than one
 * area before. */
#ifndef AREAS
#define AREAS 1
#endif

#define ANCESTORS 8

/* Decoded in internal/verdict. */
struct ancestor {
	u64 start_ns;
	u64 cgroup; /* id of its own */
	u32 pid;
	u32 uid;
	char program[40]; /* name of its file */
};

#define DIRECTORY 256	   /* bytes, a power of 2: with as many, no name is added */
#define DIRECTORY_NAME 256 /* NAME_MAX and a NUL */
#define DIRECTORY_STEPS 24 /* directories, and mounts */

/* Where the way up from the working directory ended. */
enum way_up {
	WAY_CUT,     /* it is longer */
	WAY_TO_ROOT, /* at the root directory of the process */
	WAY_OUTSIDE, /* at another root: the directory is not below that of the process */
};

struct lineage {
	struct ancestor list[ANCESTORS];
	/* names, from the working directory up, each with a NUL */
	u8 directory[DIRECTORY + DIRECTORY_NAME];
	/* how far the way up has come: addresses in the kernel */
	u64 dentry;
	u64 mnt;
	u32 directory_len;
	bool removed;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, AREAS);
	__type(key, u32);
	__type(value, struct lineage);
} lineages SEC(".maps");

static __always_inline struct lineage *lineage_in(u32 area)
{
	return bpf_map_lookup_elem(&lineages, &area);
}

/* Notes the ancestors of the current process, the nearest first, and returns how many. Global, so
 * that it is verified once, and for its own part of the stack. */
__noinline int note_ancestors(u32 area)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct lineage *l = lineage_in(area);

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

/* Goes from a directory to the one above it and notes its name, or from the root of a mount to where
 * that is mounted. Returns where the way ended, WAY_CUT if it goes on. Global as above. */
__noinline int go_up(u32 area)
{
	struct fs_struct *fs = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), fs);
	struct lineage *l = lineage_in(area);
	struct dentry *dentry, *above;
	struct vfsmount *mnt;
	u32 len;
	long n;

	if (!l)
		return WAY_CUT;
	dentry = (void *)l->dentry;
	mnt = (void *)l->mnt;
	if (dentry == BPF_CORE_READ(fs, root.dentry) && mnt == BPF_CORE_READ(fs, root.mnt))
		return WAY_TO_ROOT;
	if (dentry == BPF_CORE_READ(mnt, mnt_root)) {
		struct mount *mount = (void *)mnt - bpf_core_field_offset(struct mount, mnt);
		struct mount *below = BPF_CORE_READ(mount, mnt_parent);

		l->dentry = (u64)BPF_CORE_READ(mount, mnt_mountpoint);
		l->mnt = (u64)below + bpf_core_field_offset(struct mount, mnt);
		return below == mount ? WAY_OUTSIDE : WAY_CUT;
	}
	above = BPF_CORE_READ(dentry, d_parent);
	if (above == dentry)
		return WAY_OUTSIDE;
	len = l->directory_len;
	if (len >= DIRECTORY)
		return WAY_CUT;
	n = bpf_probe_read_kernel_str(l->directory + (len & (DIRECTORY - 1)), DIRECTORY_NAME,
				      BPF_CORE_READ(dentry, d_name.name));
	if (n > 0)
		l->directory_len = len + n;
	l->dentry = (u64)above;
	return WAY_CUT;
}

/* Notes the working directory of the current process below its root directory, as d_path of the kernel
 * does, but without its locks: if a directory is moved meanwhile, names can be wrong. All memory is read
 * by helpers that may fail, and the steps are counted. Returns where the way up ended. Global as
 * above. */
__noinline int note_directory(u32 area)
{
	struct fs_struct *fs = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), fs);
	struct dentry *dentry = BPF_CORE_READ(fs, pwd.dentry);
	struct lineage *l = lineage_in(area);
	int end;

	if (!l)
		return WAY_CUT;
	l->directory_len = 0;
	l->removed = !BPF_CORE_READ(dentry, d_hash.pprev) && BPF_CORE_READ(dentry, d_parent) != dentry;
	l->dentry = (u64)dentry;
	l->mnt = (u64)BPF_CORE_READ(fs, pwd.mnt);
	if (!dentry)
		return WAY_CUT; /* it exits, and has none any more */
	for (int i = 0; i < DIRECTORY_STEPS; i++) {
		end = go_up(area);
		if (end != WAY_CUT)
			return end;
	}
	return WAY_CUT;
}
