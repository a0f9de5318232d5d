/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which processes are exempt. internal/exempt fills these maps; the programs of detectors
 * that kill in the kernel share them. They are the maps of one set of exemptions. Another
 * set has maps of its own, which are filled before a program that uses them replaces the
 * program before.
 */
#pragma once

#include "kernel.h"
#include "process.h"

enum cgroup_class {
	CGROUP_UNKNOWN,	     /* user space has not stored it yet */
	CGROUP_HOST,	     /* outside of containers; says nothing of the cgroups below */
	CGROUP_HOST_SUBTREE, /* the same with all cgroups below: there are no containers */
	CGROUP_CONTAINER,    /* a container's, with all cgroups below */
	CGROUP_EXEMPT,	     /* never killed, with all cgroups below */
};

/* An entry that is evicted is unknown again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct cgroup_key);
	__type(value, enum cgroup_class);
} cgroup_classes SEC(".maps");

#define PROGRAM_PATH 256

struct program_path {
	u8 path[PROGRAM_PATH]; /* NUL up to the end */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct program_path);
	__type(value, u32);
} exempt_programs SEC(".maps");

/* The files that the exempt paths led to when these exemptions were applied, or shortly
 * after a file there was replaced. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct file_id);
	__type(value, u32);
} exempt_files SEC(".maps");

/* Scratch space: before 6.8 a program with all that it calls has 512 bytes of stack, in
 * whole 32 bytes per function. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct program_path);
} program_paths SEC(".maps");

struct exemptions {
	u32 by_program; /* whether some are exempt by their program */
	u32 by_cgroup;	/* or by their cgroup or container */
	u32 node_root;	/* or as root on the node, from bans that spare it */
	u32 pad;
	struct root host;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct exemptions);
} exemption_state SEC(".maps");

static __always_inline struct exemptions *exemptions(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&exemption_state, &zero);
}

/* The class of a process by its cgroup. *key becomes that of its container, or of its own
 * cgroup if no container is known. Only the levels next to the root are looked up, however
 * deep it is: user space knows no others. */
static __always_inline enum cgroup_class classify(struct task_struct *task, struct cgroup_key *key)
{
	struct cgroup *cgroup = task_cgroup(task);
	struct cgroup_key at = {.hierarchy = BPF_CORE_READ(cgroup, root, hierarchy_id)};
	u32 level = BPF_CORE_READ(cgroup, level);
	enum cgroup_class class = CGROUP_HOST;

	key->hierarchy = at.hierarchy;
	key->id = BPF_CORE_READ(cgroup, kn, id);
	for (u32 i = 1; i <= CGROUP_LEVELS && i <= level; i++) {
		enum cgroup_class *known;

		at.id = ancestor_id(cgroup, i);
		known = bpf_map_lookup_elem(&cgroup_classes, &at);
		class = known ? *known : CGROUP_UNKNOWN;
		if (class == CGROUP_HOST_SUBTREE)
			return CGROUP_HOST;
		if (class == CGROUP_CONTAINER || class == CGROUP_EXEMPT) {
			key->id = at.id;
			return class;
		}
	}
	return class;
}

/* Whether a process is exempt, as root on the node, from bans that spare it. It is not while
 * its cgroup is unknown: user space then has to decide about any ban. */
static __always_inline bool is_node_root(struct task_struct *task)
{
	struct exemptions *e = exemptions();
	struct cgroup_key key;

	return e && e->node_root && is_root_on_host(task, &e->host) && classify(task, &key) == CGROUP_HOST;
}

/*
 * Whether a program is exempt: by its file, or by the path as it was executed, which
 * covers scripts and a file that has just been replaced. In another mount or user namespace, or
 * below another root, a path may lead to any file.
 */
static __always_inline bool exempt_program(struct exemptions *e, struct task_struct *task, struct file_id *file,
					   const char *path)
{
	struct program_path *key;
	u32 zero = 0;

	if (!e->by_program)
		return false;
	if (bpf_map_lookup_elem(&exempt_files, file))
		return true;
	if (!path || !has_host_root(task, &e->host))
		return false;
	key = bpf_map_lookup_elem(&program_paths, &zero);
	if (!key)
		return false;
	__builtin_memset(key, 0, sizeof(*key));
	/* One that is too long for the key fills it, and no NUL is left to end it. */
	if (bpf_probe_read_kernel_str(key->path, PROGRAM_PATH, path) >= PROGRAM_PATH)
		return false;
	return bpf_map_lookup_elem(&exempt_programs, key);
}
