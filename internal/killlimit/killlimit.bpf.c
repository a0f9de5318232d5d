//go:build ignore

// SPDX-License-Identifier: GPL-2.0-or-later
#include "kernel.h"
#include "killlimit.h"

const struct kill_limits *unused_limits __attribute__((unused));
const enum victim *unused_victim __attribute__((unused));
const struct rule_victims *unused_rule __attribute__((unused));
const struct kill_count *unused_count __attribute__((unused));
const struct made_kills *unused_made __attribute__((unused));
const enum counted *unused_counted __attribute__((unused));

/* Run by user space before it kills: counts the kill, and returns 1 if a limit forbids it. */
SEC("raw_tp/take_kill")
int take_kill(struct bpf_raw_tracepoint_args *ctx)
{
	struct cgroup_key key = {.id = ctx->args[0], .hierarchy = ctx->args[1]};
	struct cgroup_key noted = {.id = ctx->args[4], .hierarchy = ctx->args[1]};
	u64 process = ctx->args[5], parent = ctx->args[6];
	struct kill_limits *l = limits();

	if (!l)
		return 0;
	if (count_victim(ctx->args[2], ctx->args[3]) || is_limited(l, &key))
		return 1;
	if (process)
		note_kill(&noted, ctx->args[2], process, parent);
	return 0;
}

char _license[] SEC("license") = "GPL";
