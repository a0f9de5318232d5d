//go:build ignore

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Samples what the CPUs compute: the registers of the thread that a software clock interrupts in
 * user mode. A thread in the kernel is not sampled. The clock needs no counters of the CPU,
 * which many virtual machines do not have.
 */
#include "kernel.h"
#include "process.h"
#include "counters.h"
#include "fair.h"

/* include/uapi/linux/bpf_perf_event.h, with the registers of the architecture */
#if defined(__TARGET_ARCH_arm64)
#define REGISTERS 31

struct bpf_perf_event_data {
	struct {
		u64 regs[REGISTERS], sp, pc, pstate;
	} regs;
};

/* PSR_MODE_MASK is 0 for EL0t */
#define IN_USER_MODE(c) (((c)->regs.pstate & 0xf) == 0)
#define INSTRUCTION(c) ((c)->regs.pc)
#define REGISTER(c, i) ((c)->regs.regs[i])
#else
#define REGISTERS 15

struct bpf_perf_event_data {
	struct {
		u64 regs[REGISTERS], orig_ax, ip, cs, flags, sp, ss;
	} regs;
};

#define IN_USER_MODE(c) (((c)->regs.cs & 3) == 3)
#define INSTRUCTION(c) ((c)->regs.ip)
#define REGISTER(c, i) ((c)->regs.regs[i])
#endif

struct task_struct___exec {
	u64 self_exec_id;
} __attribute__((preserve_access_index));

/* Decoded in sample.go. */
struct sample {
	u64 at_ns;	      /* monotonic */
	u64 process_start_ns; /* since boot */
	u64 exec_id;	      /* number of execs of the process */
	u64 cgroup_id;
	u64 instruction;
	u64 registers[REGISTERS];
	u32 pid;
	u32 tid;
	u32 uid;
	u32 responsible;
};

const struct sample *unused_sample __attribute__((unused));
const enum counter *unused_counter __attribute__((unused));

/* Room for two seconds of 64 CPUs at the usual rate. It is read twice a second. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 21);
} samples SEC(".maps");

enum counter {
	SAMPLED,
	LOST_SAMPLE, /* the ring buffer was full */
	COUNTERS,
};

#define BPF_RB_NO_WAKEUP 1 /* include/uapi/linux/bpf.h */

SEC("perf_event")
int tick(struct bpf_perf_event_data *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	u64 id = bpf_get_current_pid_tgid();
	struct sample *s;

	if (!IN_USER_MODE(ctx))
		return 0;
	s = bpf_ringbuf_reserve(&samples, sizeof(*s), 0);
	if (!s) {
		count(LOST_SAMPLE);
		return 0;
	}
	s->at_ns = bpf_ktime_get_ns();
	s->process_start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	s->exec_id = BPF_CORE_READ((struct task_struct___exec *)task, self_exec_id);
	s->cgroup_id = BPF_CORE_READ(task_cgroup(task), kn, id);
	s->instruction = INSTRUCTION(ctx);
#pragma unroll
	for (int i = 0; i < REGISTERS; i++)
		s->registers[i] = REGISTER(ctx, i);
	s->pid = id >> 32;
	s->tid = id;
	s->uid = BPF_CORE_READ(task, cred, uid.val);
	s->responsible = responsible(task);
	bpf_ringbuf_submit(s, BPF_RB_NO_WAKEUP);
	count(SAMPLED);
	return 0;
}

char _license[] SEC("license") = "GPL";
