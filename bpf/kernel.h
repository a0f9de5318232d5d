/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel types that the programs read, with only the members that they read. CO-RE
 * relocates the members when a program is loaded, so this file replaces a generated
 * vmlinux.h of 100,000 lines.
 */
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __s32 s32;
typedef __u64 u64;
typedef __s64 s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* include/uapi/linux/bpf.h */
enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_F_NO_PREALLOC = 1,
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};

#define SIGKILL 9
#define PF_KTHREAD 0x00200000	       /* include/linux/sched.h */
#define PROC_USER_INIT_INO 0xEFFFFFFDU /* include/linux/proc_ns.h */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_iattrs;

struct kernfs_node {
	u64 id;
	/* since 6.15 __parent, under RCU (633488947ef6) */
	struct kernfs_node *parent;
	const char *name;
	struct kernfs_iattrs *iattr; /* 0 until an attribute is set */
};

struct kernfs_node___6_15 {
	struct kernfs_node *__parent;
};

struct cgroup_root {
	unsigned int subsys_mask;
	int hierarchy_id; /* 0 for cgroup v2 */
};

struct cgroup {
	int level; /* 0 for the root */
	struct kernfs_node *kn;
	struct cgroup_root *root;
	/* by level, from the root on; since 6.1 (7f203bc89eb6) */
	struct cgroup *ancestors[0];
};

struct cgroup___6_0 {
	u64 ancestor_ids[0];
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

/* The values depend on the kernel's configuration; CO-RE relocates them. */
enum cgroup_subsys_id {
	pids_cgrp_id,
	memory_cgrp_id,
};

struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
};

struct ns_common {
	unsigned int inum;
};

struct mnt_namespace {
	struct ns_common ns;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
};

typedef struct {
	u32 val;
} kuid_t;

struct kernfs_iattrs {
	kuid_t ia_uid;
};

struct user_namespace {
	struct user_namespace *parent;
	int level; /* 0 for the initial one */
	kuid_t owner;
	struct ns_common ns;
};

struct cred {
	kuid_t uid;
	kuid_t suid;
	kuid_t euid;
	struct user_namespace *user_ns;
};

typedef struct {
	int counter;
} atomic_t;

struct super_block {
	u32 s_dev;
	unsigned long s_flags;
	unsigned long s_magic;
};

struct timespec64 {
	s64 tv_sec;
	long tv_nsec;
};

struct inode {
	unsigned short i_mode;
	kuid_t i_uid;
	struct super_block *i_sb;
	unsigned long i_ino;
	unsigned int i_nlink;
	u32 i_generation;
	atomic_t i_writecount;
	struct timespec64 i_ctime; /* before 6.6; see change_time in monero */
};

struct qstr {
	u32 len;
	const unsigned char *name;
};

struct hlist_bl_node {
	struct hlist_bl_node **pprev;
};

struct dentry {
	struct hlist_bl_node d_hash; /* its pprev is 0 if the file was removed */
	struct dentry *d_parent;
	struct qstr d_name;
	/* since 6.14 d_shortname (58cf9c383c5c) */
	unsigned char d_iname[2 * sizeof(u64)];
};

union shortname_store {
	unsigned char string[2 * sizeof(u64)];
};

struct dentry___6_14 {
	union shortname_store d_shortname;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint; /* in the parent */
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct fs_struct {
	struct path root;
	struct path pwd;
};

struct signal_struct {
	atomic_t live; /* threads that have not exited */
	unsigned int flags;
};

struct sched_entity {
	u64 sum_exec_runtime;
};

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
	unsigned long env_start;
	unsigned long env_end;
	struct file *exe_file;
};

struct task_struct {
	void *stack;
	unsigned int flags;
	struct sched_entity se;
	struct task_struct *group_leader;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct mm_struct *mm;
	const struct cred *cred;
	struct nsproxy *nsproxy;
	struct fs_struct *fs;
	struct files_struct *files;
	struct signal_struct *signal;
	struct css_set *cgroups;
	u64 start_boottime;
	u64 self_exec_id; /* of 64 bits since 5.7 (d1e7fd6462ca) */
	unsigned int in_execve : 1;
};

struct linux_binprm {
	struct file *file;
	const char *filename;
	const char *interp; /* the interpreter of a script, otherwise the same */
};

struct bpf_subprog_info {
	bool might_sleep; /* since 6.15 (e2d8f560d178) */
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute pop

/* The context of a raw tracepoint, also one that user space runs. */
struct bpf_raw_tracepoint_args {
	u64 args[3];
};
