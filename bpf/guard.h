/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may be killed: exemptions and the brake. internal/guard owns the maps and
 * fills them; the programs of detectors that kill in the kernel share them.
 */
#pragma once

#include "kernel.h"
#include "process.h"

/* Cgroup ids are unique within a hierarchy. */
struct cgroup_key {
	u64 id;
	u64 hierarchy;
};

enum standing {
	UNKNOWN_CGROUP,	  /* user space has not told yet */
	HOST_CGROUP,	  /* outside of containers; says nothing of those below it */
	CLOSED_CGROUP,	  /* the same with all below it: no container can be there */
	CONTAINER_CGROUP, /* a container's, with all below it */
	EXEMPT_CGROUP,	  /* never killed, with all below it */
};

/*
 * The maps from here to policies are those of one policy. Another policy has maps of
 * its own, which are filled before a program that uses them takes the place of the one
 * before.
 */

/* One that is evicted is unknown again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct cgroup_key);
	__type(value, enum standing);
} cgroups SEC(".maps");

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

/* The files that the exempt paths led to when the policy was put in force, or
 * shortly after a file there was replaced. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct file_id);
	__type(value, u32);
} exempt_files SEC(".maps");

/* Where one is put together: before 6.8 a program with all that it calls has 512
 * bytes of stack, in whole 32 bytes a function. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct program_path);
} program_paths SEC(".maps");

struct policy {
	u64 quiet_ns;	     /* after which a brake lets go */
	u32 kills;	     /* a minute on this machine, 0 for no limit */
	u32 container_kills; /* and in each container */
	u32 by_program;	     /* whether some are exempt by their program */
	u32 by_cgroup;	     /* or by their cgroup or container */
	struct root host;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct policy);
} policies SEC(".maps");

/* Kills in a span of a minute that begins with the first. */
struct brake {
	u64 began_ns;
	u64 kills;
	u64 engaged_ns; /* since when it withholds kills, 0 if it does not */
	u64 last_ns;	/* of the last kill, made or withheld */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct brake);
} node_brake SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct cgroup_key);
	__type(value, struct brake);
} container_brakes SEC(".maps");

static __always_inline struct policy *this_policy(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&policies, &zero);
}

/* How a process stands by its cgroup. *key becomes that of its container, or of
 * its own cgroup where no container is known. Only the levels next to the root are
 * asked, however deep it is: user space knows of no others. */
static __always_inline enum standing cgroup_standing(struct task_struct *task, struct cgroup_key *key)
{
	struct cgroup *cgroup = task_cgroup(task);
	struct cgroup_key at = {.hierarchy = BPF_CORE_READ(cgroup, root, hierarchy_id)};
	u32 level = BPF_CORE_READ(cgroup, level);
	enum standing standing = HOST_CGROUP;

	key->hierarchy = at.hierarchy;
	key->id = BPF_CORE_READ(cgroup, kn, id);
	for (u32 i = 1; i <= CGROUP_LEVELS && i <= level; i++) {
		enum standing *known;

		at.id = ancestor_id(cgroup, i);
		known = bpf_map_lookup_elem(&cgroups, &at);
		standing = known ? *known : UNKNOWN_CGROUP;
		if (standing == CLOSED_CGROUP)
			return HOST_CGROUP;
		if (standing == CONTAINER_CGROUP || standing == EXEMPT_CGROUP) {
			key->id = at.id;
			return standing;
		}
	}
	return standing;
}

/*
 * Whether a program is exempt: by its file, or by the path as it was executed, which
 * covers scripts and a file that has just been replaced. In another mount namespace or
 * below another root, which a user namespace gives to everybody, a path may lead to any
 * file.
 */
static __always_inline bool exempt_program(struct policy *policy, struct task_struct *task, struct file_id *file,
					   const char *path)
{
	struct program_path *key;
	struct root its;
	u32 zero = 0;

	if (!policy->by_program)
		return false;
	if (bpf_map_lookup_elem(&exempt_files, file))
		return true;
	locate_root(&its, task);
	if (!same_root(&its, &policy->host))
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

#define MINUTE_NS 60000000000ULL

static __always_inline bool brake_holds(struct brake *b, u32 limit, u64 quiet_ns)
{
	u64 now = bpf_ktime_get_ns();

	if (b->engaged_ns) {
		bool holds = now - b->last_ns < quiet_ns;

		b->last_ns = now;
		if (holds)
			return true;
		b->engaged_ns = 0;
		b->began_ns = now; /* and not 0, which is less than a minute ago soon after boot */
		b->kills = 0;
	}
	if (now - b->began_ns >= MINUTE_NS) {
		b->began_ns = now;
		b->kills = 0;
	}
	b->last_ns = now;
	__atomic_fetch_add(&b->kills, 1, __ATOMIC_RELAXED);
	if (b->kills <= limit)
		return false;
	b->engaged_ns = now;
	return true;
}

/* Counts a kill that is about to be made, and says whether a brake withholds it.
 * key is of the container. */
static __always_inline bool braked(struct policy *policy, struct cgroup_key *key)
{
	u32 zero = 0;
	struct brake *b;

	if (policy->container_kills) {
		b = bpf_map_lookup_elem(&container_brakes, key);
		if (!b) {
			struct brake fresh = {};

			bpf_map_update_elem(&container_brakes, key, &fresh, BPF_NOEXIST);
			b = bpf_map_lookup_elem(&container_brakes, key);
		}
		if (b && brake_holds(b, policy->container_kills, policy->quiet_ns))
			return true;
	}
	if (!policy->kills)
		return false;
	b = bpf_map_lookup_elem(&node_brake, &zero);
	return b && brake_holds(b, policy->kills, policy->quiet_ns);
}
