//go:build ignore

// SPDX-License-Identifier: GPL-2.0-or-later
#include "kernel.h"
#include "killlimit.h"

const struct kill_limits *unused_limits __attribute__((unused));
const enum victim *unused_victim __attribute__((unused));
const struct rule_victims *unused_rule __attribute__((unused));
const struct kill_count *unused_count __attribute__((unused));

/* Run by user space before it kills: counts the kill, and returns 1 if a limit forbids it. */
SEC("raw_tp/take_kill")
int take_kill(struct bpf_raw_tracepoint_args *ctx)
{
	struct cgroup_key key = {.id = ctx->args[0], .hierarchy = ctx->args[1]};
	struct kill_limits *l = limits();

	return l && (count_victim(ctx->args[2], ctx->args[3]) || is_limited(l, &key));
}

char _license[] SEC("license") = "GPL";
