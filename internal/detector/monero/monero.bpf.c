//go:build ignore

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Samples the rounding mode of threads at context switches. x86.bpf.h and arm64.bpf.h read
 * the mode.
 *
 * Nearly every thread is always in the nearest mode, which costs one array lookup. A thread
 * in a directed mode is of interest for a while: its samples, of all modes, go to user
 * space.
 *
 * The programs run under the lock of the run queue, so they must not allocate or sleep.
 */
#include "kernel.h"
#include "process.h"
#include "counters.h"
#include "fair.h"
#include "code.bpf.h"

/* CO-RE checks whether the kernel's enum has this value. */
enum bpf_func_id {
	BPF_FUNC_task_pt_regs = 175,
};

struct task_struct___exec {
	u64 self_exec_id;
} __attribute__((preserve_access_index));

u64 interest_ns; /* wall time */
u64 spacing_ns;	 /* of a thread's CPU time */

/* Decoded in sample.go. */
struct sample {
	u64 at_ns;	      /* monotonic */
	u64 cpu_ns;	      /* of the thread */
	u64 file;	      /* of the interrupted instruction; device and inode, 0 for none */
	u64 changed_ns;	      /* ctime of that file */
	u64 process_start_ns; /* since boot */
	u64 thread_start_ns;
	u64 exec_id; /* number of execs of the process */
	u64 cgroup_id;
	u32 pid;
	u32 tid;
	u32 uid;
	u32 cpu;
	u16 mode;
	u16 code; /* enum code */
	u32 responsible;
};

const struct sample *unused_sample __attribute__((unused));
const enum counter *unused_counter __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} samples SEC(".maps");

/* The threads of interest, by thread id. An evicted thread is added again at its next sample
 * in a directed mode. */
struct interest {
	u64 start_ns; /* of the thread, since thread ids are reused */
	u64 exec_id;  /* a new program starts in the nearest mode */
	u64 cpu_ns;   /* at the last sample */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, struct interest);
} interests SEC(".maps");

/* Until when a thread may be of interest, by the last bits of its id: in units of 2^30 ns, 0
 * for never. Most context switches only read this. Threads that share a slot can only
 * prolong each other's interest. */
#define SLOT_BITS 16
#define TIME_SHIFT 30
u32 interest_until[1 << SLOT_BITS];

static __always_inline u32 *interest_slot(u32 tid)
{
	return &interest_until[tid & ((1 << SLOT_BITS) - 1)];
}

enum counter {
	SAMPLED,     /* samples sent */
	LOST_SAMPLE, /* samples lost because the ring buffer was full */
	COUNTERS,
};

static __always_inline bool has_task_pt_regs(void)
{
	return bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs);
}

static __noinline int take_sample(struct task_struct *task, u32 mode);

/* Where this kernel keeps the rounding mode: see describe. */
enum layout {
	FPU_STATE,	 /* MXCSR in fpu.state: until 5.15 */
	FPU_FPSTATE,	 /* MXCSR in *fpu.fpstate: from 5.16 */
	FPU_BEHIND_TASK, /* the same, and struct fpu is after task_struct: from 6.16 */
	FPCR,		 /* arm64 */
};

const enum layout *unused_layout __attribute__((unused));

#if defined(__TARGET_ARCH_arm64)
#include "arm64.bpf.h"
#else
#include "x86.bpf.h"
#endif

/* The registers with which a thread left user mode. */
static __always_inline struct pt_regs *user_regs(struct task_struct *task)
{
	if (has_task_pt_regs())
		return (struct pt_regs *)bpf_task_pt_regs(task);
	/* Without the helper, which is new in 5.15 (dd6e10fbd9fb): at the end of the stack. */
	return BPF_CORE_READ(task, stack) + THREAD_SIZE - bpf_core_type_size(struct pt_regs);
}

/* Takes a sample if the thread is or recently was in a directed mode. */
static __noinline int take_sample(struct task_struct *task, u32 mode)
{
	struct pt_regs *regs = user_regs(task);
	struct interest *known, fresh;
	u64 now = bpf_ktime_get_ns();
	struct sample *s;
	u32 tid = BPF_CORE_READ(task, pid);

	if (!mode && now >> TIME_SHIFT > *interest_slot(tid)) {
		*interest_slot(tid) = 0;
		return 0;
	}
	/* A thread in a system call keeps its mode without computing. */
	if (in_system_call(regs))
		return 0;
	fresh.start_ns = BPF_CORE_READ(task, start_boottime);
	fresh.exec_id = BPF_CORE_READ((struct task_struct___exec *)task, self_exec_id);
	fresh.cpu_ns = BPF_CORE_READ(task, se.sum_exec_runtime);
	known = bpf_map_lookup_elem(&interests, &tid);
	if (known && known->start_ns == fresh.start_ns && known->exec_id == fresh.exec_id) {
		if (fresh.cpu_ns - known->cpu_ns < spacing_ns)
			return 0;
		known->cpu_ns = fresh.cpu_ns;
	} else {
		if (!mode)
			return 0;
		bpf_map_update_elem(&interests, &tid, &fresh, BPF_ANY);
	}
	if (mode)
		*interest_slot(tid) = (now + interest_ns) >> TIME_SHIFT;

	s = bpf_ringbuf_reserve(&samples, sizeof(*s), 0);
	if (!s) {
		count(LOST_SAMPLE);
		return 0;
	}
	s->responsible = responsible(task); /* before find_code, after which the verifier has many states */
	s->at_ns = now;
	s->cpu_ns = fresh.cpu_ns;
	s->file = 0;
	s->changed_ns = 0;
	s->code = UNKNOWN_CODE;
	if (mode) /* the rules use the code of directed samples only */
		s->code = find_code(task, instruction(regs), &s->file, &s->changed_ns);
	s->process_start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	s->thread_start_ns = fresh.start_ns;
	s->exec_id = fresh.exec_id;
	s->cgroup_id = BPF_CORE_READ(task_cgroup(task), kn, id);
	s->pid = BPF_CORE_READ(task, tgid);
	s->tid = tid;
	s->cpu = bpf_get_smp_processor_id();
	s->uid = BPF_CORE_READ(task, cred, uid.val);
	s->mode = mode;
	bpf_ringbuf_submit(s, 0);
	count(SAMPLED);
	return 0;
}

/* Run by user space: returns the layout and whether the kernel has bpf_task_pt_regs. */
SEC("raw_tp")
int describe(void *ctx)
{
	return layout() << 1 | has_task_pt_regs();
}

char _license[] SEC("license") = "GPL";
