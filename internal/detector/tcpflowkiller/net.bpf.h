/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's types of sockets, with the members that are read. */
#pragma once

#include "kernel.h"

enum {
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_SK_STORAGE = 24,
	BPF_SK_STORAGE_GET_F_CREATE = 1,
};

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_MPTCP 262
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define TCP_SYN_SENT 2
#define TCP_CLOSE 7
#define TCP_LISTEN 10
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define SOCKFS_MAGIC 0x534F434B
#define PORT_DNS 53
#define PORT_HTTPS 443

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be16 skc_dport;
	u16 skc_num; /* the own port */
	u16 skc_family;
	u8 skc_state;
	struct in6_addr skc_v6_daddr;
};

struct socket_lock {
	int owned;
};

struct socket;
struct bpf_local_storage;

struct sock {
	struct sock_common __sk_common;
	struct {
		int owned; /* whether a process holds the socket */
	} sk_lock;
	struct socket *sk_socket;
	u16 sk_type;
	struct bpf_local_storage *sk_bpf_storage;
	kuid_t sk_uid;		      /* who has made it */
	unsigned int sk_protocol : 8; /* a bit field before 5.13 (bf9765145b85) */
};

struct socket {
	struct file *file;
	struct sock *sk;
};

/* The file of a socket. */
struct file___socket {
	struct inode *f_inode;
	void *private_data; /* the socket */
};

struct cred___sockets {
	kuid_t uid;
	kuid_t euid;
	kuid_t fsuid; /* that a socket is made with */
};

struct tcp_sock {
	u64 bytes_received;
	u64 bytes_acked;
};

#pragma clang attribute pop

static __always_inline u64 start_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, group_leader, start_boottime);
}
