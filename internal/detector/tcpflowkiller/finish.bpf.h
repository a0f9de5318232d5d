/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The end of a verdict on a connection: what becomes of it and of the process, and the event. */
#pragma once

#define MAX_COUNTERS 64
#define COUNTERS_ATOMIC /* programs of a cgroup are preemptible */

#include "net.bpf.h"
#include "stream.bpf.h"
#include "verdict.h"
#include "forward.bpf.h"
#include "address.bpf.h"

/* Why, also as labels of metrics. */
enum reason {
	BECAUSE_ADDRESS,
	BECAUSE_SCAN,
	BECAUSE_STRATUM,
	BECAUSE_NAME,
	REASONS,
};

/* What became of it, by reason. */
enum fate {
	FATE_KILLED,  /* or to be killed by the agent */
	FATE_REFUSED, /* the connection, whatever became of the process */
	FATE_OBSERVED,
	FATE_EXEMPT,
	FATE_LIMITED,
	FATE_FORWARDER, /* refused, and not killed */
	FATE_SPARED,	/* refused, and not killed for another reason */
	FATE_LEFT,	/* of FATE_KILLED, left to the agent */
	FATE_UNKNOWN,	/* refused, and left to the agent to judge */
	FATES,
};

enum own_counter {
	CONNECTS_CHECKED = OWN_COUNTERS,
	PACKETS_CHECKED,
	STREAMS_FOLLOWED,
	STREAMS_TRUNCATED, /* not judged to their end */
	STREAMS_UNKEPT,	   /* refused because there was no memory to follow them */
	DISTURBED,	   /* judgements for which others on this CPU left no area */
	DROPPED,	   /* packets, with those sent again */
	MARKED,		   /* processes, by their DNS questions */
	COUNTERS,	   /* from here on, the fates by reason */
};

static __always_inline void count_fate(enum reason reason, enum fate fate)
{
	count(COUNTERS + reason * FATES + fate);
}

/* What is to be done. */
enum act {
	ACT_NOTHING,
	ACT_MARK, /* only tell the agent */
	ACT_OBSERVE,
	ACT_REFUSE,
	ACT_KILL_CONTAINED, /* kill in containers, refuse outside */
	ACT_KILL,
};

/* Why the process of a refused connection lives. */
enum spared {
	NOT_SPARED,
	SPARED_FORWARDER,
	SPARED_HOST,	  /* it is in no container */
	SPARED_PROTECTED, /* the init process */
	SPARED_RULE,	  /* the rule only refuses */
	SPARED_PASSED,	  /* another user, or one in another container, has made the socket */
	SPARED_NOBODY,	  /* no process is known: user space must look for it */
};

#define PROGRAM_NAME 64
#define ARGS 512	 /* bytes of the arguments */
#define ENVIRONMENT 4096 /* bytes of the environment, if variables are logged */

/* Decoded by event.go. */
struct event {
	struct event_head head;
	u64 began_ns; /* monotonic time of the verdict */
	u64 cookie;   /* of the socket */
	u64 inode;
	u64 cgroup; /* id of that of the socket, if it said something */
	u32 reason;
	u32 finding; /* enum finding, or enum scan_rule */
	u32 listed;  /* name, see names.bpf.h */
	u32 rule;    /* of an address */
	u32 act;
	u32 spared;
	u32 refused;
	u32 counts;	/* of a scan */
	u32 generation; /* of the policy */
	u16 protocol;
	u16 asked_port; /* of a proxy */
	struct address to;
	u32 args_len;
	u32 args_total;		  /* bytes of the area of the arguments */
	u8 program[PROGRAM_NAME]; /* name of its file, NUL up to the end */
	u8 args[ARGS];
	u32 env_len;
	u8 env[ENVIRONMENT];
	u8 text[HEAD_TEXT];
};

const struct event *unused_event __attribute__((unused));
const enum own_counter *unused_own_counter __attribute__((unused));
const enum fate *unused_fate __attribute__((unused));
const enum reason *unused_reason __attribute__((unused));
const enum act *unused_act __attribute__((unused));
const enum spared *unused_spared __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

/* Sockets, by their cookies, whose connections user space has let through. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u32);
} pardoned SEC(".maps");

const volatile bool observe;
const volatile u32 act_address;
const volatile bool wants_env;
const volatile u32 generation;

/* The agent: its thread group, and when that has started. Another process may have the same number
 * when the agent is gone, but not with the same tick. */
const volatile u32 agent;
const volatile u64 agent_tick;
#define TICK_NS 10000000ULL

static __always_inline bool is_agent(struct task_struct *task)
{
	return BPF_CORE_READ(task, tgid) == agent && start_of(task) / TICK_NS == agent_tick;
}

enum pid_type {
	PIDTYPE_PID,
	PIDTYPE_TGID,
	PIDTYPE_PGID,
	PIDTYPE_SID,
	PIDTYPE_MAX,
};

/* Since 6.13 (6280cf718db0). */
int bpf_send_signal_task(struct task_struct *task, int sig, enum pid_type type, u64 value) __ksym __weak;

#define NO_KILL_HERE (-95) /* -EOPNOTSUPP: user space kills */

/* A verdict that is to be carried out. */
struct suspect {
	u64 began_ns;
	u64 cookie;
	u64 inode;
	u64 cgroup; /* of the socket, if it said something */
	enum reason reason;
	enum act act;
	u32 finding, listed, rule, counts;
	u16 protocol, asked_port;
	bool somebody; /* the current process does it */
	bool again;    /* it was counted before */
	bool passed;   /* to that process, by another user or container */
	bool told;     /* set by finish: the event was sent */
	struct address to;
};

static __always_inline s32 kill_current(void)
{
	if (!bpf_send_signal_task)
		return NO_KILL_HERE;
	return bpf_send_signal_task((void *)bpf_get_current_task_btf(), SIGKILL, PIDTYPE_TGID, 0);
}

/* Copies the start of an area of the current process. Returns its length. */
static __always_inline u32 copy_area(u8 *to, u64 from, u64 end, u64 most)
{
	u64 len = end - from;

	if (len > most)
		len = most;
	barrier_var(len); /* or the compiler knows better than the verifier */
	if (len > most || !len || bpf_probe_read_user(to, len, (void *)from))
		return 0;
	return len;
}

/* The process may have ended when user space reads the event. */
static __always_inline void describe_program(struct event *e, struct task_struct *task)
{
	u64 args = BPF_CORE_READ(task, mm, arg_start), args_end = BPF_CORE_READ(task, mm, arg_end);

	bpf_probe_read_kernel_str(e->program, PROGRAM_NAME,
				  BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_name.name));
	e->args_len = copy_area(e->args, args, args_end, ARGS);
	e->args_total = args_end - args;
	if (wants_env)
		e->env_len = copy_area(e->env, BPF_CORE_READ(task, mm, env_start), BPF_CORE_READ(task, mm, env_end),
				       ENVIRONMENT);
}

/* The suspects of the areas, for the global functions, which take no pointers before 5.12. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, AREAS);
	__type(key, u32);
	__type(value, struct suspect);
} suspects SEC(".maps");

static __always_inline struct suspect *this_suspect(u32 area)
{
	return bpf_map_lookup_elem(&suspects, &area);
}

/* The same, to be filled in. */
static __always_inline struct suspect *new_suspect(u32 area, u64 began_ns)
{
	struct suspect *x = this_suspect(area);

	if (!x)
		return 0;
	__builtin_memset(x, 0, sizeof(*x));
	x->began_ns = began_ns;
	return x;
}

/* The numbers of the rules for the kill limit: those of enum scan_rule, two more, then addresses
 * and names. limits.go has the same order. */
enum limit_index {
	LIMIT_STRATUM = 6,
	LIMIT_NAMES, /* a name that is not listed */
	LIMIT_LISTED,
};

const enum limit_index *unused_limit_index __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} limit_rules SEC(".maps");

#define LISTED_INDEX ((1U << 28) - 1) /* the lower bits of a name: Listed in firstbytes */
const volatile u32 limit_names;	      /* where those of names begin */

static __always_inline u32 limit_rule(struct suspect *x)
{
	u32 index = LIMIT_STRATUM, *rule;

	if (x->reason == BECAUSE_SCAN)
		index = x->finding;
	else if (x->reason == BECAUSE_ADDRESS)
		index = LIMIT_LISTED + (x->rule & ~RULE_OBSERVES) - 1;
	else if (x->reason == BECAUSE_NAME)
		index = x->listed ? limit_names + (x->listed & LISTED_INDEX) - 1 : LIMIT_NAMES;
	rule = bpf_map_lookup_elem(&limit_rules, &index);
	return rule ? *rule : 0;
}

/* What decide_suspect returns: the outcome, and these. */
#define DECIDED_SPARED 8 /* shift of enum spared */
#define DECIDED_REFUSED (1 << 16)
#define DECIDED_UNKILLED (1 << 17)
#define DECIDED_AGENT (1 << 18)

/* These are global, so that each is verified once, and not with each of what the others return. */
__noinline u32 class_of_current(void)
{
	struct cgroup_key key;

	return classify((void *)bpf_get_current_task(), &key);
}

__noinline u32 why_spared(u32 act, u32 class, u32 forwards, u32 passed)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	if (act <= ACT_OBSERVE) { /* for the log, and so that it is no sign of a miner */
		if (passed)
			return SPARED_PASSED;
		return forwards ? SPARED_FORWARDER : NOT_SPARED;
	}
	if (BPF_CORE_READ(task, tgid) == 1)
		return SPARED_PROTECTED;
	if (act == ACT_REFUSE)
		return SPARED_RULE;
	if (passed)
		return SPARED_PASSED;
	if (forwards)
		return SPARED_FORWARDER;
	if (act == ACT_KILL_CONTAINED && class == CGROUP_HOST)
		return SPARED_HOST;
	return NOT_SPARED;
}

__noinline u32 decide_on_current(u32 found, u32 rule)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct file_id file;

	identify(&file, BPF_CORE_READ(task, mm, exe_file, f_inode));
	return decide(found, rule, task, &file, 0);
}

/* Decides and kills. */
__noinline int decide_suspect(u32 area, u32 forwards)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct exemptions *ex = exemptions();
	struct suspect *x = this_suspect(area);
	u32 spared = SPARED_NOBODY, outcome = UNDECIDED, class, rule;
	enum reason reason;
	enum act act;
	bool again, somebody, passed, refused = true, unkilled = false;

	if (!ex || !x)
		return DECIDED_AGENT;
	act = x->act;
	reason = x->reason;
	again = x->again;
	somebody = x->somebody;
	passed = x->passed;
	rule = limit_rule(x);
	if (somebody && !(BPF_CORE_READ(task, flags) & PF_KTHREAD)) {
		if (is_agent(task))
			return DECIDED_AGENT;
		class = class_of_current();
		spared = why_spared(act, class, forwards, passed);
		/* An unknown container: a host's process is not killed for all. */
		if (act == ACT_KILL_CONTAINED && spared == NOT_SPARED && class == CGROUP_UNKNOWN)
			outcome = UNKNOWN_CONTAINER;
		else
			outcome =
				decide_on_current(act <= ACT_OBSERVE || spared != NOT_SPARED ? OBSERVED : BANNED, rule);
		if (act > ACT_OBSERVE && spared != NOT_SPARED && outcome == OBSERVED)
			outcome = class == CGROUP_UNKNOWN && ex->by_cgroup ? UNKNOWN_CONTAINER : UNDECIDED;
	} else if (act <= ACT_OBSERVE) {
		outcome = OBSERVED;
	}
	if (outcome == BANNED) {
		unkilled = kill_current();
		count_fate(reason, FATE_KILLED);
	} else if (outcome == EXEMPT || outcome == OBSERVED || outcome == LIMITED) {
		/* What limits kills by all rules says nothing against this one. */
		refused = outcome == LIMITED && !is_rule_stopped(rule);
		if (act != ACT_MARK)
			count_fate(reason, outcome == EXEMPT	 ? FATE_EXEMPT
					   : outcome == OBSERVED ? FATE_OBSERVED
								 : FATE_LIMITED);
	} else if (outcome == UNDECIDED && spared != SPARED_NOBODY) {
		count_fate(reason, spared == SPARED_FORWARDER ? FATE_FORWARDER : FATE_SPARED);
	} else if (!again) {
		count_fate(reason, FATE_UNKNOWN);
	}
	if (refused && !again && reason != BECAUSE_SCAN)
		count_fate(reason, FATE_REFUSED);
	return outcome | spared << DECIDED_SPARED | (refused ? DECIDED_REFUSED : 0) | (unkilled ? DECIDED_UNKILLED : 0);
}

/* Sends the event of what decide_suspect returned. Returns whether it was sent. */
__noinline int tell_suspect(u32 area, u32 decided)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct suspect *x = this_suspect(area);
	struct event *e;

	if (!x)
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count(LOST_EVENT);
		return 0;
	}
	identify(&e->head.file, BPF_CORE_READ(task, mm, exe_file, f_inode));
	e->head.outcome = decided & 0xff;
	e->head.kill_error = decided & DECIDED_UNKILLED ? NO_KILL_HERE : 0;
	e->began_ns = x->began_ns;
	e->cookie = x->cookie;
	e->inode = x->inode;
	e->cgroup = x->cgroup;
	e->reason = x->reason;
	e->finding = x->finding;
	e->listed = x->listed;
	e->rule = x->rule;
	e->act = x->act;
	e->spared = decided >> DECIDED_SPARED & 0xff;
	e->refused = decided & DECIDED_REFUSED && x->reason != BECAUSE_SCAN;
	e->counts = x->counts;
	e->generation = generation;
	e->protocol = x->protocol;
	e->asked_port = x->asked_port;
	e->to = x->to;
	e->head.took_ns = bpf_ktime_get_ns() - x->began_ns;
	e->args_len = 0;
	e->args_total = 0;
	e->env_len = 0;
	__builtin_memset(e->program, 0, PROGRAM_NAME);
	if (x->somebody)
		describe_program(e, task);
	describe_head_in(area, &e->head, e->text, task);
	bpf_ringbuf_submit(e, 0);
	return 1;
}

/* Carries out a verdict in the area of its judgement, on the suspect there. Returns what the program returns:
 * 1 to let the packet or the connection through, 0 to refuse it. */
__noinline int end_verdict(u32 area)
{
	struct suspect *x = this_suspect(area);
	u32 decided, forwards;

	if (!x || x->act == ACT_NOTHING)
		return 1;
	if (x->cookie && bpf_map_lookup_elem(&pardoned, &x->cookie))
		return 1;
	if (observe && x->act > ACT_OBSERVE)
		x->act = ACT_OBSERVE;
	/* Not in decide_suspect, for the sum of their stacks. */
	forwards = x->somebody && x->act != ACT_REFUSE && is_forwarder(x->inode);
	decided = decide_suspect(area, forwards);
	if (decided & DECIDED_AGENT)
		return 1;
	if (decided & DECIDED_UNKILLED)
		count_fate(x->reason, FATE_LEFT);
	x->told = tell_suspect(area, decided);
	return !(decided & DECIDED_REFUSED);
}

static __always_inline int finish(u32 area)
{
	u32 passes = end_verdict(area);

	barrier_var(passes); /* the verifier wants to see 0 or 1, and knows nothing of what a global function returns */
	return passes & 1;
}

/* The same for an address that is banned by a rule: no area is taken so far. Without one, what would be refused
 * is, and nothing else is done. */
static __always_inline int finish_address(struct address *to, u32 rule, u64 began_ns, u64 cookie, u32 protocol,
					  bool passed)
{
	u32 act = rule & RULE_OBSERVES ? ACT_OBSERVE : act_address, area = take_area();
	struct suspect *x = new_suspect(area, began_ns);
	struct work *w = this_work(area);
	int passes;

	if (!w || !x) {
		count(DISTURBED);
		return observe || act <= ACT_OBSERVE;
	}
	x->cookie = cookie;
	x->reason = BECAUSE_ADDRESS;
	x->act = act;
	x->rule = rule;
	x->protocol = protocol;
	x->somebody = true;
	x->passed = passed;
	x->to = *to;
	passes = finish(area);
	leave_area(w);
	return passes;
}
