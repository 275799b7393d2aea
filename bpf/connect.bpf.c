/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Failures at once: connect() of a TCP socket that fails before the socket leaves CLOSE, for want of a route for instance,
 * which no tracepoint of sockets tells. It is seen where the function begins and ends that the call ends up in. Not every kernel
 * has programs attached to functions (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS; arm64 since Linux 6.4): there by the tracepoints that
 * every system call passes, with which every system call of the machine takes the slow way. Those of a single system call are
 * attached by perf_event_open alone, which the filter of the service does not allow.
 */
#include "connect.h"

enum { SOCKET_ADDRESS = 28 };

#define peek(to, from) read_kernel(&(to), sizeof(to), &(from))

/* Whether a call is the first of a TCP socket: otherwise it tells of an earlier one. */
static NOINLINE int begins(struct call *call, struct socket *socket)
{
	struct sock *sk = 0;
	struct net *net = 0;
	socket_state connected = SS_FREE;
	u16 protocol = 0, family = 0;
	u8 state = 0;
	if (!call)
		return 0;
	peek(sk, socket->sk);
	peek(connected, socket->state);
	peek(protocol, sk->sk_protocol);
	peek(family, sk->__sk_common.skc_family);
	read_kernel(&state, sizeof state, (void *)&sk->__sk_common.skc_state);
	if (protocol != IPPROTO_TCP || (family != AF_INET && family != AF_INET6))
		return 0;
	if (connected != SS_UNCONNECTED || state != CLOSE)
		return 0;
	peek(net, sk->__sk_common.skc_net.net);
	peek(call->netns, net->ns.inum);
	return 1;
}

/* What a call asks for: struct sockaddr_in or sockaddr_in6. */
INLINE int asks(struct call *call, const u8 *name)
{
	if (*(u16 *)name == AF_INET)
		mapped(&call->address, *(u32 *)(name + 4));
	else if (*(u16 *)name == AF_INET6)
		__builtin_memcpy(&call->address, name + 8, sizeof call->address);
	else
		return 0;
	call->port = *(u16 *)(name + 2);
	return 1;
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

/* What the caller has begun; otherwise nothing is left of an earlier call whose end was missed. */
INLINE void has_begun(int begins, const struct call *call)
{
	u64 caller = current_pid_tgid();
	if (begins)
		map_update(&calls, &caller, call, BPF_ANY);
	else
		map_delete(&calls, &caller);
}

static NOINLINE int failed_at_once(const struct call *call, int error, u32 slot)
{
	struct destination key = {};
	struct totals *totals;
	u32 why;
	if (!call)
		return 0;
	key.asked = key.got = call->address;
	key.asked_port = key.got_port = call->port;
	if (!all_loopback && is_loopback(&key.asked) && call->netns != agent_netns)
		return 0;
	key.group = group_for(current_task(), slot);
	if (!key.group)
		return 0;
	totals = totals_of(&key, 0);
	if (!totals) {
		totals = rest_of(&key.group);
		if (!totals)
			return 0;
		count(NO_ROOM_FOR_DESTINATION);
	}
	why = reason(error, 1);
	if (why < REASONS)
		add(&totals->failed[why], 1);
	return 0;
}

/* By functions: their arguments as words, and behind them the result of one that ends. */

enum { SOCKET, ADDRESS, MAY_RESULT = 3, CONNECT_RESULT };

INLINE int function_begins(struct call *call, const u64 *context)
{
	void *address = (void *)context[ADDRESS];
	u8 name[SOCKET_ADDRESS] = {};
	if (!begins(call, (void *)context[SOCKET]))
		return 0;
	read_kernel(name, 16, address);
	if (*(u16 *)name == AF_INET6)
		read_kernel(name + 16, 12, address + 16);
	return asks(call, name);
}

SEC("fentry/inet_stream_connect")
int enter_connect(const u64 *context)
{
	struct call call = {};
	has_begun(function_begins(&call, context), &call);
	return 0;
}

SEC("fexit/inet_stream_connect")
int exit_connect(const u64 *context)
{
	u64 caller = current_pid_tgid();
	struct call *found = map_lookup(&calls, &caller), call;
	int error = -(int)context[CONNECT_RESULT];
	if (!found)
		return 0;
	call = *found;
	map_delete(&calls, &caller);
	return is_failure(error) ? failed_at_once(&call, error, OF_EXIT_CONNECT) : 0;
}

/* A security module (SELinux, AppArmor, Landlock) is asked before. */
SEC("fexit/security_socket_connect")
int deny_connect(const u64 *context)
{
	struct call call = {};
	int error = -(int)context[MAY_RESULT];
	if (!is_failure(error) || !function_begins(&call, context))
		return 0;
	return failed_at_once(&call, error, OF_DENY_CONNECT);
}

/* By system calls. Nothing is done before it is known which one it is: every one comes here. */

/* Of x86-64, and of arm64; calls of 32-bit programs have other numbers. */
enum { CONNECT_X86_64 = 42, CONNECT_ARM64 = 203, TS_COMPAT = 2, TIF_32BIT = 1 << 22 };

/* Arguments of the tracepoints, as words. */
enum { REGISTERS, ID, RESULT = 1 };

INLINE int is_x86(const struct pt_regs *registers)
{
	return exists(registers->orig_ax);
}

INLINE int is_connect(const struct pt_regs *registers, s64 id)
{
	return is_x86(registers) ? id == CONNECT_X86_64 : id == CONNECT_ARM64;
}

INLINE int is_compat(const struct task_struct *task)
{
	if (exists(task->thread_info.status))
		return task->thread_info.status & TS_COMPAT;
	return task->thread_info.flags & TIF_32BIT;
}

static NOINLINE int call_begins(struct call *call, const u64 *context)
{
	const struct pt_regs *registers = (const void *)context[REGISTERS];
	const struct pt_regs___arm64 *arm64 = (const void *)registers;
	struct task_struct *task = current_task();
	struct fdtable *table = task->files->fdt;
	struct file **files = 0, *file = 0;
	struct socket *socket = 0;
	u32 fd, most = 0;
	if (!call || is_compat(task))
		return 0;
	if (is_x86(registers)) {
		fd = registers->di;
		call->name = registers->si;
	} else {
		fd = arm64->regs[0];
		call->name = arm64->regs[1];
	}
	peek(most, table->max_fds);
	peek(files, table->fd);
	if (fd >= most || !files)
		return 0;
	read_kernel(&file, sizeof file, files + fd);
	if (!file)
		return 0;
	/* Of what is no socket the call fails with ENOTSOCK, which is not looked at. */
	peek(socket, file->private_data);
	return begins(call, socket);
}

static NOINLINE int call_has_begun(const u64 *context)
{
	struct call call = {};
	has_begun(call_begins(&call, context), &call);
	return 0;
}

static NOINLINE int call_ends(const u64 *context)
{
	u8 name[SOCKET_ADDRESS] = {};
	u64 caller = current_pid_tgid();
	struct call *found = map_lookup(&calls, &caller), call;
	int error = -(int)context[RESULT];
	if (!found)
		return 0;
	call = *found;
	map_delete(&calls, &caller);
	if (!is_failure(error))
		return 0;
	/* The kernel has read it by now: when the call began it might not have been in memory. */
	read_user(name, 16, (void *)call.name);
	if (*(u16 *)name == AF_INET6)
		read_user(name + 16, 12, (void *)(call.name + 16));
	return asks(&call, name) ? failed_at_once(&call, error, OF_TRACEPOINTS) : 0;
}

SEC("tp_btf/sys_enter")
int enter_call(const u64 *context)
{
	const struct pt_regs *registers = (const void *)context[REGISTERS];
	return is_connect(registers, context[ID]) ? call_has_begun(context) : 0;
}

SEC("tp_btf/sys_exit")
int exit_call(const u64 *context)
{
	const struct pt_regs *registers = (const void *)context[REGISTERS];
	const struct pt_regs___arm64 *arm64 = (const void *)registers;
	s64 id = is_x86(registers) ? (s64)registers->orig_ax : arm64->syscallno;
	return is_connect(registers, id) ? call_ends(context) : 0;
}
