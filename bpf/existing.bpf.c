/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is there without having been seen to come: sockets that were open before the agent was, found in the files of all
 * tasks; and what open connections have done since the last look.
 */
#include "state.bpf.c"

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
	struct connection connection = {.state = ASKED, .before = BEFORE_OPEN}, *kept;
	u64 socket = (u64)sk, *followed = number(CONNECTIONS_FOLLOWED);
	int connecting = sk->__sk_common.skc_state == SYN_SENT;
	if (!followed || (!connecting && !opened_here(tcp)) || !begin(&connection, sk, task, OF_ITERATORS))
		return;
	if (connecting) {
		connection.state = CONNECTING;
		connection.before = BEFORE_CONNECTING;
	} else {
		connection.local_port = sk->__sk_common.skc_num;
		connection.sent = tcp->bytes_sent - tcp->bytes_retrans;
		connection.received = payload_received(sk, tcp);
	}
	if (*followed >= connection_limit) {
		count(NO_ROOM_FOR_CONNECTION);
		return;
	}
	if (map_update(&connections, &socket, &connection, BPF_NOEXIST))
		return;
	add(followed, 1);
	if (connecting || ask(sk, &connection))
		return;
	kept = map_lookup(&connections, &socket);
	/* It may have ended meanwhile, which then counted it. */
	if (kept && exchange(&kept->state, ASKED, COUNTED) == ASKED)
		count_opening(kept);
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
			listening(sk, task, OF_ITERATORS);
		return 0;
	case CLOSE:
	case SYN_RECV:
	case TIME_WAIT:
	case NEW_SYN_RECV:
		return 0;
	}
	if (!map_lookup(&connections, &address))
		existing(sk, tcp, task);
	return 0;
}

/* What came since the last time, unless its end has counted it meanwhile. */
INLINE u64 take(u64 *counted, u64 number)
{
	u64 last = *counted, more = grown(number, last);
	return more && exchange(counted, last, number) == last ? more : 0;
}

INLINE int is_still(const struct connection *connection, u64 started)
{
	return *(const volatile u64 *)&connection->started == started;
}

/*
 * Whether a socket has been without its connection for long enough that nobody will say that it ended. The change of state
 * is told before it is made: between the two, which takes as long as others' programs at the tracepoint, or an interrupt, a
 * connection that begins has a socket that is closed.
 */
INLINE int is_left(struct connection *connection)
{
	u32 time = now() >> 20 | 1;
	if (!connection->left) {
		connection->left = time;
		return 0;
	}
	return time - connection->left > (connection->state == CONNECTING ? 10000 : 1000);
}

/* Of an open socket, the connection: what it has done since the last look is added. */
INLINE void add_more(struct connection *connection, struct tcp_sock *tcp, u64 started)
{
	struct totals *totals = totals_for(connection);
	u64 sent = 0, again = 0, received = 0;
	unsigned long flags = 0;
	u32 rtt = 0;
	if (!totals)
		return;
	read_kernel(&sent, sizeof sent, &tcp->bytes_sent);
	/* What is sent again is counted after that; of an idle connection neither is looked at. */
	if (sent != connection->sent)
		read_kernel(&again, sizeof again, &tcp->bytes_retrans);
	read_kernel(&received, sizeof received, &tcp->bytes_received);
	if (received != connection->received)
		read_kernel(&flags, sizeof flags, &((struct sock *)tcp)->__sk_common.skc_flags);
	read_kernel(&rtt, sizeof rtt, &tcp->srtt_us);
	if (!is_still(connection, started))
		return;
	add(&totals->sent, take(&connection->sent, sent - again));
	add(&totals->received, take(&connection->received, received - (flags >> SOCK_DONE & 1)));
	if (rtt) {
		add(&totals->rtt, rtt);
		add(&totals->rtts, 1);
	}
}

/*
 * One open connection: the difference to the last look goes to its destination, and with the answer of the agent its
 * opening. The socket is read with probe reads: it may be closed meanwhile, and its memory belongs to sockets as long as
 * this runs (SLAB_TYPESAFE_BY_RCU).
 */
static long look(void *map, u64 *key, struct connection *connection, void *context)
{
	u64 socket = *key;
	struct sock *sk = (struct sock *)socket;
	/* Another connection may take the place of this one meanwhile, both in the map and in the socket's memory. */
	u64 started = *(volatile u64 *)&connection->started;
	u32 ports = 0, local, was = connection->state;
	u8 state = 0;
	read_kernel(&state, sizeof state, (void *)&sk->__sk_common.skc_state);
	read_kernel(&ports, sizeof ports, &sk->__sk_common.skc_portpair);
	local = ports >> 16;
	/* The kernel takes the local port back before it says that the connection has ended. */
	if (!state || state == CLOSE || (u16)ports != connection->asked_port ||
	    (local && connection->local_port && local != connection->local_port)) {
		/*
		 * Its end was missed (the kernel does not run a program inside itself), or could not be taken out of
		 * the map. The entry may be another's already.
		 */
		if (map_lookup(&connections, &socket) == connection && is_still(connection, started) &&
		    is_left(connection)) {
			missed(socket, connection);
			forget(socket);
		}
		return 0;
	}
	if (connection->left)
		connection->left = 0;
	if (state == SYN_SENT || state == SYN_RECV)
		return 0;
	if (was == ASKED && answered(socket, connection) && exchange(&connection->state, ASKED, COUNTED) == ASKED) {
		forget_answer(socket, connection);
		count_opening(connection);
	}
	/* That it was established was missed; without a place among the followed its end counts it. */
	if (was == CONNECTING && !connection->unfollowed && is_still(connection, started) &&
	    exchange(&connection->state, CONNECTING, COUNTED) == CONNECTING) {
		connection->before = BEFORE_CONNECTING;
		connection->local_port = local;
		count_opening(connection);
	}
	if (connection->state == COUNTED && connection->counted_in != NOWHERE)
		add_more(connection, (struct tcp_sock *)socket, started);
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
