/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets that the kernel dropped, by reason: include/net/dropreason-core.h. Resets of TCP and errors of ICMP that were sent. Each is
 * counted by network namespace and the port of the server. Nothing runs for a packet that is delivered.
 */
#include "kernel.h"

enum { IPPROTO_ICMP = 1, IPPROTO_UDP = 17, IPPROTO_ICMPV6 = 58 };
/* In the order of the network, as a little-endian CPU reads them. */
enum { ETH_P_IP = 0x0008, ETH_P_IPV6 = 0xdd86 };
/* What an IPv4 header without options, or an IPv6 header, is long. */
enum { IPV4 = 20, IPV6 = 40, PORTS = 4 };
enum { BPF_MAP_TYPE_PERCPU_HASH = 5 };

static u32 (*const random_number)(void) = (void *)7;
/* One load from memory, where the clock takes a tenth of what all of this takes. */
static u64 (*const jiffies)(void) = (void *)118;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct net_device {
	possible_net_t nd_net;
};

struct dst_entry {
	struct net_device *dev;
};

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned long _skb_refdst;
	u16 protocol;
	u16 network_header;
	u32 tail;
	u8 *head;
};

#pragma clang attribute pop

enum { DROPPED, RESET_SENT, RESET_RECEIVED, ICMP_SENT, KINDS };

struct key {
	/* Inode of the namespace; 0: unknown. */
	u32 netns;
	/* The kernel's number; of another subsystem's reasons the subsystem, with the highest bit. */
	u16 reason;
	/* 0: `~other`, or none. */
	u16 port;
	u8 kind;
	/* TCP, UDP, ICMP (of either family), or 0. */
	u8 transport;
	u8 type;
	u8 code;
};

/* Packets by CPU. */
MAP(counts, BPF_MAP_TYPE_PERCPU_HASH, 4096, FLAGS_BY_KERNEL, struct key, u64);
/* Entries of `counts`, about, and packets for which it had no room. */
enum { USED, NO_ROOM, NUMBERS };
MAP(numbers, BPF_MAP_TYPE_ARRAY, NUMBERS, 0, u32, u64);
/* A bit for each port that is told apart; written by the agent. */
MAP(named_ports, BPF_MAP_TYPE_ARRAY, 65536 / 64, 0, u32, u64);

/* How many there were in a window of time on one CPU. */
struct rate {
	/* When it was looked at the clock. */
	u64 tick;
	u64 window;
	u32 seen;
	/* One in 2^shift is looked at. */
	u32 shift;
};

MAP(rates, BPF_MAP_TYPE_PERCPU_ARRAY, KINDS, 0, u32, struct rate);
/* Packets that were not looked at, by kind. */
MAP(skipped, BPF_MAP_TYPE_PERCPU_ARRAY, KINDS, 0, u32, u64);

/* Set by the agent before the programs are loaded: the last reason that says nothing. */
const volatile u32 not_specified = 2;
/* Packets of a kind that are looked at in a window on one CPU before one in 2^n is. */
const volatile u32 window_limit = 8192;
/* Entries of `counts` with a port. */
const volatile u32 port_limit = 3072;

/* Nanoseconds of a window, as a power of two: 67 ms. */
enum { WINDOW = 26, MOST_SHIFT = 16 };

/* For how many packets this one counts; 0 where it is not looked at. */
INLINE u64 weight(u32 kind)
{
	struct rate *rate = map_lookup(&rates, &kind);
	u64 tick = jiffies(), window, *left;
	u32 shift = 0;
	if (!rate)
		return 0;
	if (rate->tick != tick) {
		window = now() >> WINDOW;
		if (window - rate->window == 1)
#pragma unroll
			for (u32 turn = 0; turn < MOST_SHIFT; turn++)
				shift += rate->seen >> turn > window_limit;
		if (window != rate->window) {
			rate->shift = shift;
			rate->seen = 0;
		}
		rate->window = window;
		rate->tick = tick;
	}
	rate->seen++;
	shift = rate->shift;
	if (shift < MOST_SHIFT && rate->seen >> shift > window_limit)
		rate->shift = ++shift;
	if (!shift)
		return 1;
	if (!(random_number() & ((1U << (shift & 31)) - 1)))
		return 1ULL << (shift & 31);
	left = map_lookup(&skipped, &kind);
	if (left)
		(*left)++;
	return 0;
}

static NOINLINE u64 *make(struct key *key)
{
	static const u64 none = 0;
	u32 which = USED;
	u64 *used = map_lookup(&numbers, &which), *value;
	if (!used)
		return 0;
	if (key->port && *used >= port_limit) {
		key->port = 0;
		value = map_lookup(&counts, key);
		if (value)
			return value;
	}
	if (!map_update(&counts, key, &none, BPF_NOEXIST))
		add(used, 1);
	return map_lookup(&counts, key);
}

INLINE void count(struct key *key, u64 packets)
{
	u64 *value = map_lookup(&counts, key);
	u32 which = NO_ROOM;
	if (!value)
		value = make(key);
	if (value) {
		/* Another program may be interrupted here, which has an entry of its own. */
		*value += packets;
		return;
	}
	value = map_lookup(&numbers, &which);
	if (value)
		add(value, packets);
}

INLINE int is_named(u32 port)
{
	u32 which = port / 64;
	u64 *bits = map_lookup(&named_ports, &which);
	return bits && *bits >> (port % 64) & 1;
}

/* Of a request the port it is for, of an answer the port it comes from. */
INLINE u16 server_port(u16 from, u16 to)
{
	if (is_named(to))
		return to;
	return is_named(from) ? from : 0;
}

INLINE u16 swapped(u16 number)
{
	return number << 8 | number >> 8;
}

INLINE void transport_of(struct key *key, u8 protocol)
{
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP)
		key->transport = protocol;
	else if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)
		key->transport = IPPROTO_ICMP;
}

/* Of a packet that has no header yet, what its socket says. */
INLINE void look_at_socket(struct key *key, const struct sock *sk)
{
	u8 state;
	u16 family, port;
	if (!sk)
		return;
	state = sk->__sk_common.skc_state;
	family = sk->__sk_common.skc_family;
	/* Those are shorter. */
	if ((family != AF_INET && family != AF_INET6) || state == TIME_WAIT || state == NEW_SYN_RECV)
		return;
	transport_of(key, sk->sk_protocol);
	if (key->transport == IPPROTO_TCP || key->transport == IPPROTO_UDP) {
		port = sk->__sk_common.skc_num;
		/* The port is given back before a socket that is closed sends its reset. */
		if (!port && !read_kernel(&port, sizeof port, &((const struct inet_sock *)sk)->inet_sport))
			port = swapped(port);
		key->port = server_port(port, swapped(sk->__sk_common.skc_dport));
	}
}

INLINE void look_at_packet(struct key *key, const struct sk_buff *skb)
{
	u8 header[IPV6 + PORTS] = {};
	u8 *head = skb->head;
	u32 start = skb->network_header, tail = skb->tail, length;
	u16 protocol = skb->protocol, *ports = 0;
	if (!head) {
		return;
	} else if (protocol == ETH_P_IP && start + IPV4 + PORTS <= tail) {
		read_kernel(header, IPV4 + PORTS, head + start);
		if (header[0] >> 4 != 4)
			goto socket;
		transport_of(key, header[9]);
		/* A later fragment has no ports. */
		if (header[6] & 0x1f || header[7])
			return;
		length = (header[0] & 15) * 4;
		if (length != IPV4) {
			if (start + length + PORTS > tail)
				return;
			read_kernel(header + IPV4, PORTS, head + start + length);
		}
		ports = (u16 *)(header + IPV4);
	} else if (protocol == ETH_P_IPV6 && start + IPV6 + PORTS <= tail) {
		read_kernel(header, IPV6 + PORTS, head + start);
		if (header[0] >> 4 != 6)
			goto socket;
		transport_of(key, header[6]);
		ports = (u16 *)(header + IPV6);
	} else {
		goto socket;
	}
	if (key->transport == IPPROTO_TCP || key->transport == IPPROTO_UDP)
		key->port = server_port(swapped(ports[0]), swapped(ports[1]));
	return;
socket:
	look_at_socket(key, skb->sk);
}

/* The inodes of namespaces are above this: include/linux/proc_ns.h, and NET_NS_INIT_INO since Linux 6.18. */
INLINE u32 inode(u32 number)
{
	return number >= 0xefffff00 ? number : 0;
}

INLINE u32 netns_of_socket(const struct sock *sk)
{
	return sk ? inode(sk->__sk_common.skc_net.net->ns.inum) : 0;
}

INLINE u32 netns_of_packet(const struct sk_buff *skb)
{
	u32 found = netns_of_socket(skb->sk);
	struct net_device *device = 0;
	const struct dst_entry *route;
	struct net *net = 0;
	if (found)
		return found;
	/* Of a datagram in a queue something else is there (udp_set_dev_scratch in net/ipv4/udp.c). */
	found = inode(skb->dev->nd_net.net->ns.inum);
	if (found)
		return found;
	/* The lowest bit says whether it is counted. */
	route = (const struct dst_entry *)(skb->_skb_refdst & ~1UL);
	if (!route || read_kernel(&device, sizeof device, &route->dev) ||
	    read_kernel(&net, sizeof net, &device->nd_net.net) || read_kernel(&found, sizeof found, &net->ns.inum))
		return 0;
	return inode(found);
}

INLINE int dropped(const struct sk_buff *skb, u32 reason, const struct sock *receiver)
{
	struct key key = {.kind = DROPPED};
	u64 packets;
	if (reason <= not_specified)
		return 0;
	packets = weight(DROPPED);
	if (!packets)
		return 0;
	key.reason = reason >> 16 ? 0x8000 | reason >> 16 : reason;
	key.netns = netns_of_socket(receiver);
	if (!key.netns)
		key.netns = netns_of_packet(skb);
	look_at_packet(&key, skb);
	count(&key, packets);
	return 0;
}

/* Linux 6.11 */
SEC("tp_btf/kfree_skb")
int drop(u64 *context)
{
	return dropped((void *)context[0], context[2], (void *)context[3]);
}

/* Linux 5.17 */
SEC("tp_btf/kfree_skb")
int drop_before(u64 *context)
{
	return dropped((void *)context[0], context[2], 0);
}

/*
 * A reset that answers a packet has that one, and a socket only where there is one; otherwise it has the socket. Before Linux 6.10
 * resets without a socket are not reported.
 */
INLINE int reset_sent(const struct sock *sk, const struct sk_buff *skb, u32 reason)
{
	struct key key = {.kind = RESET_SENT, .reason = reason};
	u64 packets = weight(RESET_SENT);
	if (!packets)
		return 0;
	key.netns = netns_of_socket(sk);
	if (skb) {
		if (!key.netns)
			key.netns = netns_of_packet(skb);
		look_at_packet(&key, skb);
	}
	if (!key.port)
		look_at_socket(&key, sk);
	key.transport = IPPROTO_TCP;
	count(&key, packets);
	return 0;
}

/* Linux 6.10 */
SEC("tp_btf/tcp_send_reset")
int send_reset(u64 *context)
{
	return reset_sent((void *)context[0], (void *)context[1], context[2]);
}

SEC("tp_btf/tcp_send_reset")
int send_reset_before(u64 *context)
{
	return reset_sent((void *)context[0], (void *)context[1], 0);
}

SEC("tp_btf/tcp_receive_reset")
int receive_reset(u64 *context)
{
	const struct sock *sk = (void *)context[0];
	struct key key = {.kind = RESET_RECEIVED};
	u64 packets = weight(RESET_RECEIVED);
	if (!packets)
		return 0;
	key.netns = netns_of_socket(sk);
	look_at_socket(&key, sk);
	key.transport = IPPROTO_TCP;
	count(&key, packets);
	return 0;
}

/* include/uapi/linux/icmp.h: those that are errors. */
enum { ICMP_DEST_UNREACH = 3, ICMP_TIME_EXCEEDED = 11, ICMP_PARAMETERPROB = 12 };

/* Linux 6.10, and of IPv4 alone. */
SEC("tp_btf/icmp_send")
int send_icmp(u64 *context)
{
	const struct sk_buff *skb = (void *)context[0];
	u32 type = context[1];
	struct key key = {.kind = ICMP_SENT, .type = type, .code = context[2]};
	u64 packets;
	if (type != ICMP_DEST_UNREACH && type != ICMP_TIME_EXCEEDED && type != ICMP_PARAMETERPROB)
		return 0;
	packets = weight(ICMP_SENT);
	if (!packets)
		return 0;
	key.netns = netns_of_packet(skb);
	count(&key, packets);
	return 0;
}

char licence[] SEC("license") = "Dual BSD/GPL";
