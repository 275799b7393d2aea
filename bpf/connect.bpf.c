/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Failures at once: connect() of a TCP socket that fails before the socket leaves CLOSE, for want of a route for instance,
 * which no tracepoint of sockets tells. It takes the tracepoints of the system call, with which every system call of the
 * machine takes the slow way.
 */
#include "connect.h"

enum { SOCKET_ADDRESS = 28 };

/* struct trace_event_raw_sys_enter and _exit of include/trace/events/syscalls.h, for 64 bits. */
struct sys_enter {
	u64 common;
	s64 id;
	u64 args[6];
};

struct sys_exit {
	u64 common;
	s64 id;
	s64 result;
};

#define peek(to, from) read_kernel(&(to), sizeof(to), &(from))

SEC("tracepoint/syscalls/sys_enter_connect")
int enter_connect(struct sys_enter *context)
{
	struct task_struct *task = current_task();
	struct fdtable *table = task->files->fdt;
	struct call call = {.address = context->args[1]};
	u64 caller = current_pid_tgid();
	u32 fd = context->args[0], most = 0;
	struct file **files = 0, *file = 0;
	struct socket *socket = 0;
	struct sock *sk = 0;
	struct net *net = 0;
	socket_state connected = SS_FREE;
	u16 protocol = 0, family = 0;
	u8 state = 0;
	peek(most, table->max_fds);
	peek(files, table->fd);
	if (fd >= most || !files)
		return 0;
	read_kernel(&file, sizeof file, files + fd);
	if (!file)
		return 0;
	/* Of what is no socket the call fails with ENOTSOCK, which is not looked at. */
	peek(socket, file->private_data);
	peek(sk, socket->sk);
	peek(connected, socket->state);
	peek(protocol, sk->sk_protocol);
	peek(family, sk->__sk_common.skc_family);
	read_kernel(&state, sizeof state, (void *)&sk->__sk_common.skc_state);
	if (protocol != IPPROTO_TCP || (family != AF_INET && family != AF_INET6))
		return 0;
	/* Otherwise the call tells of an earlier one. */
	if (connected != SS_UNCONNECTED || state != CLOSE)
		return 0;
	peek(net, sk->__sk_common.skc_net.net);
	peek(call.netns, net->ns.inum);
	map_update(&calls, &caller, &call, BPF_ANY);
	return 0;
}

/* Whether it says that the network, or a policy, does not let the connection begin. */
INLINE int is_failure(int error)
{
	switch (error) {
	case 1: /* EPERM */
	case 13: /* EACCES */
	case 19: /* ENODEV */
	case 99: /* EADDRNOTAVAIL */
	case 100: /* ENETDOWN */
	case 101: /* ENETUNREACH */
	case 105: /* ENOBUFS */
	case 111: /* ECONNREFUSED */
	case 112: /* EHOSTDOWN */
	case 113: /* EHOSTUNREACH */
		return 1;
	}
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_connect")
int exit_connect(struct sys_exit *context)
{
	struct destination key = {};
	struct totals *totals;
	struct call *found, call;
	u8 name[SOCKET_ADDRESS] = {};
	u64 caller = current_pid_tgid();
	u32 why;
	found = map_lookup(&calls, &caller);
	if (!found)
		return 0;
	call = *found;
	map_delete(&calls, &caller);
	if (!is_failure(-context->result))
		return 0;
	read_user(name, 16, (void *)call.address);
	if (*(u16 *)name == AF_INET) {
		mapped(&key.asked, *(u32 *)(name + 4));
	} else if (*(u16 *)name == AF_INET6) {
		read_user(name + 16, 12, (void *)(call.address + 16));
		__builtin_memcpy(&key.asked, name + 8, sizeof key.asked);
	} else {
		return 0;
	}
	key.asked_port = key.got_port = *(u16 *)(name + 2);
	key.got = key.asked;
	if (!all_loopback && is_loopback(&key.asked) && call.netns != agent_netns)
		return 0;
	key.group = group_for(current_task(), 2);
	if (!key.group)
		return 0;
	totals = totals_of(&key, 0);
	if (!totals) {
		totals = rest_of(&key.group);
		if (!totals)
			return 0;
		count(NO_ROOM_FOR_DESTINATION);
	}
	why = reason(-context->result, 1);
	if (why < REASONS)
		add(&totals->failed[why], 1);
	return 0;
}
