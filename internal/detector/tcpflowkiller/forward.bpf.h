/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who passes on what others send: a process with a connection that it has accepted, on a port
 * on which it listens, or a DNS server. Its own files tell, when there is a verdict: so nothing
 * has to be noted when sockets are made, and servers that are older than the agent are known.
 */
#pragma once

#include "net.bpf.h"

#define FILES 64       /* that a global function looks at */
#define MAX_FILES 4096 /* of a process with more, the others are not known */
#define LISTENED 4     /* ports on which one listens that are remembered */

struct listening {
	u32 ports[LISTENED];
	u32 n;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct listening);
} listenings SEC(".maps");

enum looking {
	FOR_DNS,       /* for a socket with port 53 */
	FOR_LISTENING, /* and note the ports */
	FOR_ACCEPTED,  /* for a connection to one of these */
};

static __always_inline struct sock *socket_of(struct file **files, u32 i)
{
	struct file___socket *f = 0;
	struct inode *inode;
	struct socket *its;

	bpf_probe_read_kernel(&f, sizeof(f), files + i);
	inode = f ? BPF_CORE_READ(f, f_inode) : 0;
	if (!inode || (BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFSOCK ||
	    BPF_CORE_READ(inode, i_sb, s_magic) != SOCKFS_MAGIC)
		return 0;
	its = BPF_CORE_READ(f, private_data);
	return BPF_CORE_READ(its, sk);
}

__noinline int look_at_files(u32 from, u32 looking)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct file **files = BPF_CORE_READ(task, files, fdt, fd);
	u32 max = BPF_CORE_READ(task, files, fdt, max_fds), zero = 0;
	struct listening *l = bpf_map_lookup_elem(&listenings, &zero);

	if (!l)
		return 0;
	for (u32 i = 0; i < FILES && from + i < max; i++) {
		struct sock *sk = socket_of(files, from + i);
		u16 port, family;
		u8 state;

		if (!sk)
			continue;
		family = BPF_CORE_READ(sk, __sk_common.skc_family);
		if (family != AF_INET && family != AF_INET6)
			continue;
		port = BPF_CORE_READ(sk, __sk_common.skc_num);
		state = BPF_CORE_READ(sk, __sk_common.skc_state);
		if (looking == FOR_DNS) {
			if (port == PORT_DNS)
				return 1;
		} else if (looking == FOR_LISTENING) {
			if (state == TCP_LISTEN && port)
				l->ports[l->n++ & (LISTENED - 1)] = port;
		} else if (port && state != TCP_LISTEN && state != TCP_CLOSE) {
			if (port == l->ports[0] || port == l->ports[1] || port == l->ports[2] || port == l->ports[3])
				return 1;
		}
	}
	return 0;
}

__noinline int look(u32 looking)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	u32 max = BPF_CORE_READ(task, files, fdt, max_fds);

	for (u32 i = 0; i < MAX_FILES && i < max; i += FILES)
		if (look_at_files(i, looking))
			return 1;
	return max > MAX_FILES;
}

static __always_inline bool serves_dns(void)
{
	return look(FOR_DNS);
}

/* Whether the current process passes on what others send. */
static __always_inline bool is_forwarder(void)
{
	u32 zero = 0;
	struct listening *l = bpf_map_lookup_elem(&listenings, &zero);

	if (!l)
		return true;
	__builtin_memset(l, 0, sizeof(*l));
	if (look(FOR_LISTENING))
		return true;
	return (l->n && look(FOR_ACCEPTED)) || look(FOR_DNS);
}
