/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is there without having been seen to come: sockets that were open before the agent was, found in the files of all
 * tasks; and what open connections have done since the last look.
 */
#include "tcp.bpf.c"

/*
 * Which end opened a connection: the kernel marks the port that connect() chose, and a port that bind() chose is another
 * one's (inet_bind_hash and __inet_hash_connect in net/ipv4/inet_hashtables.c).
 */
INLINE int opened_here(const struct tcp_sock *tcp)
{
	const struct inet_bind_bucket *port = tcp->inet_conn.icsk_bind_hash;
	return port && port->fastreuse < 0;
}

INLINE void existing(struct sock *sk, struct tcp_sock *tcp, struct task_struct *task)
{
	struct connection connection = {};
	struct totals *totals;
	u64 socket = (u64)sk, *followed = number(CONNECTIONS_FOLLOWED);
	if (!followed || !opened_here(tcp) || !begin(&connection, sk, task, 1))
		return;
	connection.sent = tcp->bytes_sent - tcp->bytes_retrans;
	connection.received = payload_received(sk, tcp);
	connection.state = COUNTED;
	if (*followed >= connection_limit || map_update(&connections, &socket, &connection, BPF_NOEXIST))
		return;
	add(followed, 1);
	if (translate && !is_direct(&connection.asked, connection.asked_port) && ask(sk, &connection, EXISTED, 0)) {
		struct connection *kept = map_lookup(&connections, &socket);
		if (kept)
			kept->state = ASKED;
		return;
	}
	totals = totals_for(&connection);
	if (totals)
		add(&totals->open, 1);
}

SEC("iter/task_file")
int existing_sockets(struct bpf_iter__task_file *context)
{
	struct file *file = context->file;
	struct task_struct *task = context->task;
	struct socket *socket;
	struct sock *sk;
	struct tcp_sock *tcp;
	u64 address;
	if (!file || !task)
		return 0;
	socket = socket_of_file(file);
	if (!socket || !(sk = socket->sk) || !is_tcp(sk))
		return 0;
	tcp = to_tcp_sock(sk);
	if (!tcp)
		return 0;
	address = (u64)sk;
	switch (sk->__sk_common.skc_state) {
	case LISTEN:
		if (!map_lookup(&listeners, &address))
			listening(sk, task, 1);
		return 0;
	case CLOSE:
	case SYN_SENT:
	case SYN_RECV:
	case TIME_WAIT:
	case NEW_SYN_RECV:
		return 0;
	}
	if (!map_lookup(&connections, &address))
		existing(sk, tcp, task);
	return 0;
}

/*
 * One open connection: the difference to the last look goes to its destination. The socket is read with
 * probe reads: it may be closed meanwhile, and its memory belongs to sockets as long as this runs (SLAB_TYPESAFE_BY_RCU).
 */
static long look(void *map, u64 *socket, struct connection *connection, void *context)
{
	struct tcp_sock *tcp = (struct tcp_sock *)*socket;
	struct sock *sk = (struct sock *)*socket;
	struct totals *totals;
	u64 sent = 0, again = 0, received = 0;
	unsigned long flags = 0;
	u32 rtt = 0;
	u8 state = 0;
	u16 port = 0;
	read_kernel(&state, sizeof state, (void *)&sk->__sk_common.skc_state);
	read_kernel(&port, sizeof port, &sk->__sk_common.skc_dport);
	if (state == CLOSE || port != connection->asked_port) {
		/* Its end was missed: the kernel does not run a program inside itself. */
		missed(connection);
		forget(*socket);
		return 0;
	}
	if (state == SYN_SENT || connection->state == CONNECTING || !settled(*socket, connection))
		return 0;
	read_kernel(&again, sizeof again, &tcp->bytes_retrans);
	read_kernel(&sent, sizeof sent, &tcp->bytes_sent);
	read_kernel(&received, sizeof received, &tcp->bytes_received);
	read_kernel(&rtt, sizeof rtt, &tcp->srtt_us);
	read_kernel(&flags, sizeof flags, &sk->__sk_common.skc_flags);
	received -= flags >> SOCK_DONE & 1;
	sent -= again;
	totals = totals_for(connection);
	if (!totals)
		return 0;
	sent = grown(sent, connection->sent);
	connection->sent += sent;
	add(&totals->sent, sent);
	received = grown(received, connection->received);
	connection->received += received;
	add(&totals->received, received);
	if (rtt) {
		add(&totals->rtt, rtt);
		add(&totals->rtts, 1);
	}
	return 0;
}

SEC("iter/bpf_map")
int open_connections(struct bpf_iter__bpf_map *context)
{
	/* The last call has no map. */
	if (!context->map)
		for_each(&connections, look, 0, 0);
	return 0;
}
