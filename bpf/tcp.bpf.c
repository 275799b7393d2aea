/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * TCP connections that processes open, counted by control group and destination, and listening sockets.
 *
 * The group is that of the task that calls connect(): at every other change of state another task is current. What a
 * connection did is added to its destination when it ends, and while it is open once a cycle by `open_connections`, which
 * may run on another CPU while the connection ends: who changes `state` with swap() or exchange() counts.
 */
#include "address.h"
#include "connect.h"

enum { REASONS = 9, BUCKETS = 16 };

/* Places in `failed`; the words are in source/containers/kernel/records.rs. */
enum {
	REFUSED,
	TIMEOUT,
	HOST_UNREACHABLE,
	NETWORK_UNREACHABLE,
	RESET,
	PERMISSION_DENIED,
	ADDRESS_NOT_AVAILABLE,
	CANCELLED,
	OTHER,
};

struct destination {
	u64 group;
	struct address asked;
	/* Behind NAT: the one it got. Otherwise the same. */
	struct address got;
	u16 asked_port;
	u16 got_port;
	u32 reserved;
};

struct totals {
	u32 opened;
	u32 closed;
	u32 reset;
	/* Opened less ended. */
	u32 open;
	u32 failed[REASONS];
	/* SYNs included. */
	u32 retransmits;
	u32 rtts;
	u32 syn_retransmits;
	u64 sent;
	u64 received;
	/* Microseconds, eight times. */
	u64 rtt;
	/* Nanoseconds. */
	u64 connecting;
	u32 connect[BUCKETS];
};

enum {
	/* connect() was called. */
	CONNECTING = 0,
	/* Its opening is counted. */
	COUNTED = 1,
	/* The agent is asked for its translation; its opening is counted when the answer is there, or when it ends. */
	ASKED = 2,
	/* Its end is counted, or the agent counts all of it. */
	DONE = 3,
};

/* Bytes of a connection whose end is counted: whatever it has sent is not more. */
#define ALL (~0ULL >> 1)

/* What was there before the programs: it is not counted as opened, or its handshake has no time. */
enum { BEFORE_OPEN = 1, BEFORE_CONNECTING = 2 };

/* Where a connection is counted, from its opening to its end. */
enum { NOWHERE = 0, IN_DESTINATION = 1, IN_REST = 2 };

struct connection {
	u64 group;
	struct address asked;
	struct address got;
	u16 asked_port;
	u16 got_port;
	/* Chosen after connect() has begun; 0 until it is established. */
	u16 local_port;
	u8 unfollowed;
	u8 before;
	u32 state;
	u16 counted_in;
	/* Counted with the opening or the failure. */
	u16 syn_retransmits;
	/* The others, until the opening is counted. */
	u32 retransmits;
	/* When its socket was first seen without it, in 2^20 ns; 0 for never. */
	u32 left;
	u64 started;
	u64 handshake;
	/* Bytes that are counted. */
	u64 sent;
	u64 received;
};

struct question {
	u64 socket;
	u64 started;
};

struct endpoint {
	struct address address;
	u16 port;
	u16 reserved[3];
};

struct listener {
	u64 group;
	struct address address;
	u16 port;
	/* 1: IPv6 only */
	u16 only;
	u32 netns;
	u32 process;
	u32 reserved;
};

MAP(destinations, BPF_MAP_TYPE_HASH, 8000, FLAGS_BY_KERNEL, struct destination, struct totals);
/* What found no room, by group. */
MAP(rest, BPF_MAP_TYPE_HASH, 4096, FLAGS_BY_KERNEL, u64, struct totals);
MAP(connections, BPF_MAP_TYPE_HASH, 65536, FLAGS_BY_KERNEL, u64, struct connection);
MAP(listeners, BPF_MAP_TYPE_HASH, 4096, FLAGS_BY_KERNEL, u64, struct listener);
/* Destinations that are known not to be translated; written by the agent, with a time until when. */
MAP(direct, BPF_MAP_TYPE_HASH, 4096, FLAGS_BY_KERNEL, struct endpoint, u64);
/* Answers to questions; written by the agent. */
MAP(answers, BPF_MAP_TYPE_HASH, 4096, FLAGS_BY_KERNEL, struct question, struct endpoint);

/* Set by the agent before the programs are loaded. */
const volatile u32 destination_limit = 8000;
const volatile u32 connection_limit = 64512;
const volatile u32 agent_netns;
const volatile u32 all_loopback;
const volatile u32 translate;

/* What an entry begins with. */
static const struct totals nothing = {};

/* The path of a group that is seen for the first time. */
static NOINLINE int meet(struct cgroup *group, u64 key, u32 slot)
{
	struct group *known = map_lookup(&scratch, &slot);
	struct kernfs_node *node = group->kn;
	struct event event = {.kind = NEW_GROUP, .group = key};
	u32 level = 0;
	if (!known)
		return 0;
	known->used = known->ignored = 0;
	for (; level < LEVELS; level++) {
		struct kernfs_node *parent = parent_of(node);
		if (!parent)
			break;
		read_kernel_text(known->names[level], NAME, node->name);
		node = parent;
	}
	known->levels = level;
	if (map_update(&groups, &key, known, BPF_NOEXIST) && !map_lookup(&groups, &key)) {
		count(NO_ROOM_FOR_GROUP);
		return 0;
	}
	tell(&event);
	return 1;
}

/* The key of a task's group, 0 where nothing of it is counted. */
INLINE u64 group_for(struct task_struct *task, u32 slot)
{
	struct cgroup *group = group_of(task);
	u64 key = group_key(group);
	struct group *known = map_lookup(&groups, &key);
	if (known)
		return known->ignored ? 0 : key;
	return meet(group, key, slot) ? key : 0;
}

INLINE int is_direct(const struct address *address, u16 port)
{
	struct endpoint endpoint = {.address = *address, .port = port};
	u64 *until = map_lookup(&direct, &endpoint);
	return until && now() < *until;
}

/*
 * The numbers of a destination; 0 where there is no room for them. What a connection is counted in already is made again
 * whatever the share is.
 */
static NOINLINE struct totals *totals_of(struct destination *key, int counted)
{
	struct totals *totals = map_lookup(&destinations, key);
	struct group *group;
	u64 *used;
	if (totals)
		return totals;
	group = map_lookup(&groups, &key->group);
	used = number(DESTINATIONS_USED);
	if (!group || group->ignored || !used)
		return 0;
	/* As much as is free is what one may have: one that goes over all ports leaves half, and two a third. */
	if (!counted && (*used >= destination_limit || group->used >= destination_limit - *used))
		return 0;
	if (!map_update(&destinations, key, &nothing, BPF_NOEXIST)) {
		add(&group->used, 1);
		add(used, 1);
	}
	return map_lookup(&destinations, key);
}

/* The numbers of what finds no room in a group. There is room for those of every group in `groups`. */
static NOINLINE struct totals *rest_of(u64 *key)
{
	struct totals *totals = map_lookup(&rest, key);
	struct group *group;
	if (totals)
		return totals;
	group = map_lookup(&groups, key);
	if (!group || group->ignored)
		return 0;
	if (map_update(&rest, key, &nothing, BPF_NOEXIST) && !map_lookup(&rest, key))
		count(NO_ROOM_FOR_GROUP);
	return map_lookup(&rest, key);
}

/* The numbers that a connection is counted in, from its opening to its end. */
static NOINLINE struct totals *totals_for(struct connection *connection)
{
	u64 group = connection->group;
	struct destination key;
	struct totals *totals;
	if (connection->counted_in == IN_REST)
		return rest_of(&group);
	key.group = group;
	key.asked = connection->asked;
	key.got = connection->got;
	key.asked_port = connection->asked_port;
	key.got_port = connection->got_port;
	key.reserved = 0;
	totals = totals_of(&key, connection->counted_in == IN_DESTINATION);
	if (totals) {
		connection->counted_in = IN_DESTINATION;
		return totals;
	}
	totals = rest_of(&group);
	if (totals) {
		connection->counted_in = IN_REST;
		count(NO_ROOM_FOR_DESTINATION);
	}
	return totals;
}

INLINE u32 reason(int error, int port)
{
	switch (error) {
	case 111:
		return REFUSED;
	case 110:
		return TIMEOUT;
	case 113:
		return HOST_UNREACHABLE;
	case 101:
		return NETWORK_UNREACHABLE;
	case 104:
		return RESET;
	case 1:
	case 13:
		return PERMISSION_DENIED;
	case 99:
		return ADDRESS_NOT_AVAILABLE;
	case 0:
		return port ? CANCELLED : ADDRESS_NOT_AVAILABLE;
	}
	return OTHER;
}

/* Upper bounds of the buckets of connect times, microseconds; written down again in source/containers/tcp.rs. */
INLINE u32 bucket(u64 nanoseconds)
{
	static const u32 bounds[BUCKETS - 1] = {50,    100,   250,   500,    1000,   2500,    5000,   10000,
						25000, 50000, 100000, 250000, 500000, 1000000, 2500000};
	u64 microseconds = nanoseconds / 1000;
	u32 place = 0;
#pragma unroll
	for (int i = 0; i < BUCKETS - 1; i++)
		place += microseconds > bounds[i];
	return place;
}

/* An IPv4 address is an IPv4 address, also in a socket of IPv6. */
INLINE void peer_of(const struct sock *sk, struct address *to)
{
	if (sk->__sk_common.skc_family == AF_INET)
		mapped(to, sk->__sk_common.skc_daddr);
	else
		read_kernel(to, sizeof *to, &sk->__sk_common.skc_v6_daddr);
}

INLINE void local_of(const struct sock *sk, struct address *to)
{
	if (sk->__sk_common.skc_family == AF_INET)
		mapped(to, sk->__sk_common.skc_rcv_saddr);
	else
		read_kernel(to, sizeof *to, &sk->__sk_common.skc_v6_rcv_saddr);
}

/* A subflow of Multipath TCP is a socket of TCP; the socket that a program has is none, nor are those of SCTP and DCCP. */
INLINE int is_tcp(const struct sock *sk)
{
	u16 family = sk->__sk_common.skc_family;
	return (family == AF_INET || family == AF_INET6) && sk->sk_protocol == IPPROTO_TCP;
}

INLINE int from_loopback(const struct sock *sk, const struct address *address)
{
	return !all_loopback && is_loopback(address) && sk->__sk_common.skc_net.net->ns.inum != agent_netns;
}

/* Whose connection it is, and to where; 0 where it is not counted. */
INLINE int begin(struct connection *connection, struct sock *sk, struct task_struct *task, u32 slot)
{
	peer_of(sk, &connection->asked);
	if (from_loopback(sk, &connection->asked))
		return 0;
	connection->group = group_for(task, slot);
	if (!connection->group)
		return 0;
	connection->asked_port = sk->__sk_common.skc_dport;
	connection->got = connection->asked;
	connection->got_port = connection->asked_port;
	connection->started = now();
	return 1;
}

INLINE void forget(u64 socket)
{
	u64 *followed = number(CONNECTIONS_FOLLOWED);
	if (!map_delete(&connections, &socket) && followed)
		add(followed, -1);
}

/* What was retransmitted before the connection was counted. */
INLINE void count_retransmits(struct totals *totals, const struct connection *connection)
{
	add(&totals->retransmits, connection->retransmits + connection->syn_retransmits);
	if (connection->syn_retransmits)
		add(&totals->syn_retransmits, connection->syn_retransmits);
}

/* Counts that a connection was established. */
static NOINLINE int count_opening(struct connection *connection)
{
	struct totals *totals = totals_for(connection);
	u32 place = bucket(connection->handshake);
	if (!totals)
		return 0;
	if (connection->before != BEFORE_OPEN)
		add(&totals->opened, 1);
	if (!connection->before) {
		add(&totals->connecting, connection->handshake);
		if (place < BUCKETS)
			add(&totals->connect[place], 1);
	}
	if (!connection->unfollowed)
		add(&totals->open, 1);
	count_retransmits(totals, connection);
	connection->retransmits = 0;
	return 0;
}

/* What a connection did since the last time. */
struct end {
	u64 sent;
	u64 received;
	u32 rtt;
	u32 reset;
};

/* Counts the end of a connection, where there was room for its opening. */
static NOINLINE int count_end(struct connection *connection, const struct end *end)
{
	struct totals *totals;
	if (connection->counted_in == NOWHERE)
		return 0;
	totals = totals_for(connection);
	if (!totals)
		return 0;
	add(end->reset ? &totals->reset : &totals->closed, 1);
	add(&totals->open, -1);
	add(&totals->sent, end->sent);
	add(&totals->received, end->received);
	if (end->rtt) {
		add(&totals->rtt, end->rtt);
		add(&totals->rtts, 1);
	}
	return 0;
}
