//go:build ignore

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lists processes and reports new cgroups. User space cannot, because /proc and cgroupfs
 * show an agent in a container only its own namespaces.
 */
#include "kernel.h"
#include "process.h"
#include "list.h"

const struct process *unused_process __attribute__((unused));
const struct cgroup_path *unused_cgroup_path __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 21);
} new_cgroups SEC(".maps");

/* Buffers for report_cgroup. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct cgroup_path);
} cgroup_paths SEC(".maps");

u64 lost_cgroups; /* because the ring buffer was full */

static __always_inline bool has_controller(struct cgroup *cgroup, u32 id)
{
	return BPF_CORE_READ(cgroup, root, subsys_mask) >> id & 1;
}

/* Whether task_cgroup may return a cgroup of this hierarchy. */
static __always_inline bool is_used_hierarchy(struct cgroup *cgroup)
{
	return !BPF_CORE_READ(cgroup, root, hierarchy_id) ||
	       (SUBSYS_EXISTS(pids) && has_controller(cgroup, SUBSYS_ID(pids))) ||
	       (SUBSYS_EXISTS(memory) && has_controller(cgroup, SUBSYS_ID(memory)));
}

/* The cgroup of a container is created before the exec of its first program. */
SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(report_cgroup, struct cgroup *cgroup, const char *path)
{
	struct cgroup_path *p;
	u32 zero = 0, levels;
	u64 size;

	if (!is_used_hierarchy(cgroup))
		return 0;
	p = bpf_map_lookup_elem(&cgroup_paths, &zero);
	if (!p)
		return 0;
	describe_cgroup(p, cgroup);
	levels = p->depth < CGROUP_LEVELS ? p->depth : CGROUP_LEVELS;
	size = offsetof(struct cgroup_path, levels) + levels * sizeof(p->levels[0]);
	barrier_var(size); /* or the compiler removes the check that the verifier needs */
	if (size > sizeof(*p))
		return 0;
	if (bpf_ringbuf_output(&new_cgroups, p, size, 0))
		__atomic_fetch_add(&lost_cgroups, 1, __ATOMIC_RELAXED);
	return 0;
}

#define MAX_ANCESTORS 256

u32 wanted_pid; /* of list_processes, 0 for all; user space has one reader at a time */

struct root host; /* the root directory of init */

/* Run by the agent. Init is its last ancestor. The task iterator does not list init on some
 * machines. */
SEC("raw_tp/find_host")
int find_host(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	for (u32 i = 0; i < MAX_ANCESTORS; i++) {
		if (BPF_CORE_READ(task, tgid) == 1) {
			locate_root(&host, task);
			return 0;
		}
		task = BPF_CORE_READ(task, real_parent);
	}
	return -1;
}

struct task_struct___exec {
	u64 self_exec_id;
} __attribute__((preserve_access_index));

struct listed {
	u64 exec_id; /* number of execs of the process */
	struct process process;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct listed);
} scratch SEC(".maps");

SEC("iter/task")
int list_processes(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct listed *l;
	u32 zero = 0;

	if (!task || task->pid != task->tgid)
		return 0;
	if (wanted_pid && task->tgid != wanted_pid)
		return 0;
	l = bpf_map_lookup_elem(&scratch, &zero);
	if (!l)
		return 0;
	l->exec_id = BPF_CORE_READ((struct task_struct___exec *)task, self_exec_id);
	list_process(ctx->meta->seq, l, &l->process, task, &host);
	return 0;
}

/* Run by the agent: writes the file of one of its descriptors to identified. */
struct file_id identified;

SEC("raw_tp/identify_file")
int identify_file(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	u64 fd = ctx->args[0];
	struct file *file = 0;

	if (fd >= BPF_CORE_READ(table, max_fds))
		return -1;
	bpf_probe_read_kernel(&file, sizeof(file), BPF_CORE_READ(table, fd) + fd);
	if (!file)
		return -1;
	identify(&identified, BPF_CORE_READ(file, f_inode));
	return 0;
}

char _license[] SEC("license") = "GPL";
