/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses: an IPv4 address is kept as the IPv6 address that it is mapped to, in the order of the network. */
#pragma once
#include "group.h"

INLINE void mapped(struct address *to, u32 address)
{
	to->half[0] = 0;
	to->half[1] = 0xffff0000ULL | (u64)address << 32;
}

INLINE int is_mapped(const struct address *address)
{
	return !address->half[0] && (u32)address->half[1] == 0xffff0000;
}

INLINE int is_loopback(const struct address *address)
{
	if (is_mapped(address))
		return (address->half[1] >> 32 & 0xff) == 127;
	return !address->half[0] && address->half[1] == 1ULL << 56;
}
