/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The types of the kernel that the programs read, and the helpers they call. Only the members that are read are here:
 * the loader puts in the offsets that the running kernel's BTF has (CO-RE), so neither the order nor what is left out
 * matters. Helper numbers: include/uapi/linux/bpf.h.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef long long s64;

#define IPPROTO_TCP 6

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_F_NO_PREALLOC = 1,
	/* In the place of flags of a map: the loader writes BPF_F_NO_PREALLOC there, or 0 (src/host/bpf/types.rs). */
	FLAGS_BY_KERNEL = 0x3ca5965a,
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
	BPF_LOCAL_STORAGE_GET_F_CREATE = 1,
};

/* include/net/tcp_states.h */
enum {
	ESTABLISHED = 1,
	SYN_SENT = 2,
	SYN_RECV = 3,
	TIME_WAIT = 6,
	CLOSE = 7,
	CLOSE_WAIT = 8,
	LISTEN = 10,
	NEW_SYN_RECV = 12,
};

enum { AF_INET = 2, AF_INET6 = 10 };

/* enum sock_flags of include/net/sock.h: the other end has sent its FIN. */
enum { SOCK_DONE = 1 };

/* include/linux/sched.h */
enum { PF_EXITING = 4 };

/* include/linux/fs.h */
enum { FMODE_WRITE = 2 };

/* include/uapi/linux/stat.h */
enum { S_IFMT = 0170000, S_IFREG = 0100000 };

#define SEC(name) __attribute__((section(name), used))
#define NOINLINE __attribute__((noinline))
#define INLINE static inline __attribute__((always_inline))
/* Whether the running kernel's structure has a member. */
#define exists(field) __builtin_preserve_field_info(field, 2)
#define add(pointer, number) ((void)__sync_fetch_and_add(pointer, number))
/* Atomic, and the value is the former one: Linux 5.12. */
#define swap(pointer, number) __sync_lock_test_and_set(pointer, number)
#define exchange(pointer, from, to) __sync_val_compare_and_swap(pointer, from, to)

#define MAP(name, kind, entries, flags, key_type, value_type)                                                          \
	struct {                                                                                                       \
		int (*type)[kind];                                                                                     \
		int (*max_entries)[entries];                                                                           \
		int (*map_flags)[flags];                                                                               \
		key_type *key;                                                                                         \
		value_type *value;                                                                                     \
	} name SEC(".maps")

struct path;
struct seq_file;

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*const map_delete)(void *map, const void *key) = (void *)3;
static u64 (*const now)(void) = (void *)5;
static u64 (*const current_pid_tgid)(void) = (void *)14;
static long (*const read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*const read_kernel_text)(void *to, u32 size, const void *from) = (void *)115;
static long (*const read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*const seq_write)(struct seq_file *seq, const void *data, u32 size) = (void *)127;
static long (*const ring_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;
static void *(*const to_tcp_sock)(const void *sk) = (void *)137;
/* In iterators since Linux 5.12. */
static long (*const path_of)(const struct path *path, char *to, u32 size) = (void *)147;
static void *(*const task_storage)(void *map, void *task, void *value, u64 flags) = (void *)156;
static void *(*const current_task)(void) = (void *)158;
static void *(*const socket_of_file)(void *file) = (void *)162;
static long (*const for_each)(void *map, void *callback, void *context, u64 flags) = (void *)164;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
	/* before Linux 6.15; since then it is __parent */
	struct kernfs_node *parent;
	const char *name;
	u64 id;
};

struct kernfs_node___new {
	struct kernfs_node *__parent;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_root *root;
	int level;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

enum cgroup_subsys_id {
	memory_cgrp_id = 1,
};

struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
};

struct sched_info {
	u64 run_delay;
};

struct task_delay_info {
	u64 blkio_delay;
};

struct super_block {
	u32 s_dev;
};

struct inode {
	u16 i_mode;
	struct super_block *i_sb;
	unsigned long i_ino;
};

struct path {
	void *dentry;
};

struct file {
	u32 f_mode;
	struct inode *f_inode;
	struct path f_path;
	void *private_data;
};

struct fdtable {
	u32 max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

/* arch/x86/include/asm/thread_info.h has a status, and that of arm64 only flags. */
struct thread_info {
	unsigned long flags;
	u32 status;
};

/* arch/x86/include/asm/ptrace.h, of 64 bits */
struct pt_regs {
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
};

/* arch/arm64/include/asm/ptrace.h */
struct pt_regs___arm64 {
	u64 regs[31];
	s32 syscallno;
};

struct task_struct {
	struct thread_info thread_info;
	int pid;
	int tgid;
	u32 flags;
	u64 start_time;
	struct task_struct *group_leader;
	struct css_set *cgroups;
	struct files_struct *files;
	struct sched_info sched_info;
	struct task_delay_info *delays;
};

struct in6_addr {
	union {
		u8 u6_addr8[16];
	} in6_u;
};

struct ns_common {
	u32 inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	u16 skc_family;
	volatile u8 skc_state;
	u8 skc_ipv6only : 1;
	u32 skc_daddr;
	u32 skc_rcv_saddr;
	/* Of the next two. */
	u32 skc_portpair;
	u16 skc_dport;
	u16 skc_num;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	possible_net_t skc_net;
	unsigned long skc_flags;
};

struct sock {
	struct sock_common __sk_common;
	u16 sk_protocol;
	int sk_err;
};

struct inet_sock {
	u16 inet_sport;
};

struct inet_bind_bucket {
	signed char fastreuse;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	struct inet_bind_bucket *icsk_bind_hash;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	u32 srtt_us;
	u64 bytes_received;
	u64 bytes_sent;
	u64 bytes_retrans;
};

/* include/uapi/linux/net.h */
typedef enum {
	SS_FREE,
	SS_UNCONNECTED,
} socket_state;

struct socket {
	socket_state state;
	struct sock *sk;
};

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
};

struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	void *map;
};

#pragma clang attribute pop
