/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs that see TCP connections: every change of state, and retransmissions.
 */
#include "tcp.bpf.c"

/* The translation, where the agent has answered: whether it has. */
INLINE int answered(u64 socket, struct connection *connection)
{
	struct question question = {.socket = socket, .started = connection->started};
	struct endpoint *answer = map_lookup(&answers, &question);
	if (!answer)
		return 0;
	connection->got = answer->address;
	connection->got_port = answer->port;
	return 1;
}

INLINE void forget_answer(u64 socket, const struct connection *connection)
{
	struct question question = {.socket = socket, .started = connection->started};
	map_delete(&answers, &question);
}

/* A connection that was not established, by its reason. */
static NOINLINE int count_failure(struct connection *connection, u32 why)
{
	struct totals *totals = totals_for(connection);
	if (!totals)
		return 0;
	if (why < REASONS)
		add(&totals->failed[why], 1);
	count_retransmits(totals, connection);
	return 0;
}

/* A connection whose end was missed: it is counted as one that ended in order, or failed for an unknown reason. */
static NOINLINE int missed(u64 socket, struct connection *connection)
{
	struct end end = {};
	u32 state = connection->state;
	connection->state = DONE;
	if (state == CONNECTING)
		count_failure(connection, OTHER);
	if (state == ASKED) {
		answered(socket, connection);
		forget_answer(socket, connection);
		count_opening(connection);
	}
	if (state == ASKED || state == COUNTED)
		count_end(connection, &end);
	return 0;
}

INLINE void connecting(struct sock *sk)
{
	struct connection connection = {}, *stale;
	u64 socket = (u64)sk, *followed = number(CONNECTIONS_FOLLOWED);
	/* What is left of a socket whose end was missed has the same key. */
	stale = map_lookup(&connections, &socket);
	if (stale) {
		missed(socket, stale);
		forget(socket);
	}
	if (!followed || !begin(&connection, sk, current_task(), OF_STATES))
		return;
	connection.unfollowed = *followed >= connection_limit;
	if (map_update(&connections, &socket, &connection, BPF_ANY))
		count(NO_ROOM_FOR_CONNECTION);
	else
		add(followed, 1);
}

INLINE void describe(struct event *event, u64 socket, const struct connection *connection)
{
	event->socket = socket;
	event->group = connection->group;
	event->started = connection->started;
	event->asked = connection->asked;
	event->asked_port = connection->asked_port;
}

/* Asks the agent for the translation of a connection; whether the question will reach it. */
INLINE int ask(const struct sock *sk, const struct connection *connection)
{
	struct event event = {.kind = QUESTION};
	if (!translate || is_direct(&connection->asked, connection->asked_port))
		return 0;
	describe(&event, (u64)sk, connection);
	event.local_port = sk->__sk_common.skc_num;
	local_of(sk, &event.local);
	return tell(&event);
}

/* A connection is established; `seen`: just now. Whether it is followed from here on. */
static NOINLINE int opened(struct sock *sk, struct connection *connection, int seen)
{
	if (connection->state != CONNECTING)
		return 1;
	if (seen)
		connection->handshake = now() - connection->started;
	else
		connection->before = BEFORE_CONNECTING;
	connection->local_port = sk->__sk_common.skc_num;
	if (connection->unfollowed) {
		count(NO_ROOM_FOR_CONNECTION);
	} else if (ask(sk, connection)) {
		connection->state = ASKED;
		return 1;
	}
	count_opening(connection);
	connection->state = COUNTED;
	if (!connection->unfollowed)
		return 1;
	connection->state = DONE;
	forget((u64)sk);
	return 0;
}

INLINE u64 payload_received(const struct sock *sk, const struct tcp_sock *tcp)
{
	/* The FIN counts as a byte. */
	return tcp->bytes_received - (sk->__sk_common.skc_flags >> SOCK_DONE & 1);
}

/* What came since: two counters that are read one after the other may seem to have gone back. */
INLINE u64 grown(u64 now, u64 last)
{
	return (s64)(now - last) > 0 ? now - last : 0;
}

/* `before`: Linux 5.11 has no atomic instruction that tells the former value, and no `open_connections` either. */
INLINE void ended(struct sock *sk, struct connection *connection, int old, int before)
{
	struct tcp_sock *tcp = to_tcp_sock(sk);
	struct end end = {.reset = sk->sk_err || old == ESTABLISHED || old == CLOSE_WAIT};
	u64 socket = (u64)sk, sent = connection->sent, received = connection->received;
	u32 state = connection->state;
	if (before) {
		connection->state = DONE;
	} else {
		/* What is looked at from now on is counted here. */
		state = swap(&connection->state, DONE);
		sent = swap(&connection->sent, ALL);
		received = swap(&connection->received, ALL);
	}
	if (tcp) {
		end.sent = grown(tcp->bytes_sent - tcp->bytes_retrans, sent);
		end.received = grown(payload_received(sk, tcp), received);
		end.rtt = tcp->srtt_us;
	}
	if (state == ASKED) {
		if (!answered(socket, connection)) {
			struct event event = {.kind = ENDED, .reset = end.reset, .before = connection->before};
			describe(&event, socket, connection);
			event.retransmits = connection->retransmits;
			event.syn_retransmits = connection->syn_retransmits;
			event.handshake = connection->handshake;
			event.sent = end.sent;
			event.received = end.received;
			event.rtt = end.rtt;
			if (tell(&event))
				return;
			/* Nobody else learns of it. */
		}
		forget_answer(socket, connection);
		count_opening(connection);
	} else if (state != COUNTED) {
		return;
	}
	count_end(connection, &end);
}

INLINE void failed(struct sock *sk, struct connection *connection)
{
	struct tcp_sock *tcp = to_tcp_sock(sk);
	connection->state = DONE;
	count_failure(connection, reason(sk->sk_err, tcp ? tcp->inet_conn.icsk_inet.inet_sport : 0));
}

/* A bit of its own, wherever the running kernel has it (CO-RE of a bit field). */
INLINE int ipv6_only(struct sock *sk)
{
	struct sock_common *common = &sk->__sk_common;
	u64 value = 0;
	read_kernel(&value, 1, (u8 *)common + __builtin_preserve_field_info(common->skc_ipv6only, 0));
	value <<= __builtin_preserve_field_info(common->skc_ipv6only, 4);
	return value >> __builtin_preserve_field_info(common->skc_ipv6only, 5);
}

INLINE void listening(struct sock *sk, struct task_struct *task, u32 slot)
{
	struct listener listener = {};
	u64 socket = (u64)sk;
	listener.group = group_for(task, slot);
	if (!listener.group)
		return;
	local_of(sk, &listener.address);
	listener.port = sk->__sk_common.skc_num;
	listener.netns = sk->__sk_common.skc_net.net->ns.inum;
	listener.process = task->tgid;
	listener.only = sk->__sk_common.skc_family == AF_INET6 && ipv6_only(sk);
	if (map_update(&listeners, &socket, &listener, BPF_ANY))
		count(NO_ROOM_FOR_LISTENER);
}

INLINE int changed(u64 *context, int before)
{
	struct sock *sk = (struct sock *)context[0];
	int old = context[1], new = context[2];
	u64 socket = (u64)sk;
	struct connection *connection;

	if (old == CLOSE) {
		if (new == SYN_SENT && is_tcp(sk)) {
			has_left_close();
			connecting(sk);
		} else if (new == LISTEN && is_tcp(sk)) {
			listening(sk, current_task(), OF_STATES);
		}
		return 0;
	}
	if (old == LISTEN) {
		map_delete(&listeners, &socket);
		return 0;
	}
	if (new != ESTABLISHED && new != CLOSE)
		return 0;
	connection = map_lookup(&connections, &socket);
	if (!connection)
		return 0;
	if (new == ESTABLISHED) {
		opened(sk, connection, 1);
		return 0;
	}
	if (connection->state == CONNECTING && (old == SYN_SENT || old == SYN_RECV))
		failed(sk, connection);
	/* Nothing is left to do where it is counted as opened; otherwise that was missed. */
	else if (opened(sk, connection, 0))
		ended(sk, connection, old, before);
	else
		return 0;
	forget(socket);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int set_state(u64 *context)
{
	return changed(context, 0);
}

/* For Linux 5.11. */
SEC("tp_btf/inet_sock_set_state")
int set_state_before(u64 *context)
{
	return changed(context, 1);
}

INLINE int retransmitted(const struct sock *sk)
{
	u64 socket = (u64)sk;
	struct connection *connection = map_lookup(&connections, &socket);
	struct totals *totals;
	if (!connection)
		return 0;
	if (sk->__sk_common.skc_state == SYN_SENT) {
		/* As often as net.ipv4.tcp_syn_retries says, at most 127 times. */
		connection->syn_retransmits++;
		return 0;
	}
	if (connection->state != COUNTED) {
		/* It is added when the connection is counted. */
		connection->retransmits++;
		return 0;
	}
	if (connection->counted_in == NOWHERE)
		return 0;
	totals = totals_for(connection);
	if (totals)
		add(&totals->retransmits, 1);
	return 0;
}

/* Since Linux 6.15 also reported attempts that failed, with the error. */
SEC("tp_btf/tcp_retransmit_skb")
int retransmit(u64 *context)
{
	return (int)context[2] ? 0 : retransmitted((const struct sock *)context[0]);
}

SEC("tp_btf/tcp_retransmit_skb")
int retransmit_before(u64 *context)
{
	return retransmitted((const struct sock *)context[0]);
}

char licence[] SEC("license") = "Dual BSD/GPL";
