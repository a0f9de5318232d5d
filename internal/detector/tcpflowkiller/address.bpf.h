/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Banned addresses. Single ones are in hash maps: a trie of a million takes 1.5 us a look-up, a
 * hash map 0.1.
 */
#pragma once

#include "net.bpf.h"

struct address {
	u32 word[4]; /* in network byte order; the first one for IPv4 */
	u16 family;
	u16 port;
};

struct prefix4 {
	u32 length;
	u32 word;
};

struct prefix6 {
	u32 length;
	u32 word[4];
};

/* Values are rules: their number, and whether they observe. With ANY_PORT it is the rule for all
 * ports of the address, without it the key of the address in rule_ports. */
#define ANY_PORT (1U << 31)
#define RULE_OBSERVES (1U << 30)

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, u32);
} exact4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32[4]);
	__type(value, u32);
} exact6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix4);
	__type(value, u32);
} prefixes4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix6);
	__type(value, u32);
} prefixes6 SEC(".maps");

struct rule_port {
	u32 address;
	u32 port; /* 0 for the others */
};

/* The rules of addresses that have not the same for all ports. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct rule_port);
	__type(value, u32);
} rule_ports SEC(".maps");

/* Whether there are any: an empty map need not be looked up. */
const volatile bool has_exact4, has_exact6, has_prefixes4, has_prefixes6;

/* The rule for a port of an address with this value, 0 for none. */
static __always_inline u32 rule_at(u32 *value, u16 port)
{
	struct rule_port key = {.port = port};
	u32 *rule;

	if (!value)
		return 0;
	if (*value & ANY_PORT)
		return *value & ~ANY_PORT;
	key.address = *value;
	rule = bpf_map_lookup_elem(&rule_ports, &key);
	if (!rule) {
		key.port = 0;
		rule = bpf_map_lookup_elem(&rule_ports, &key);
	}
	return rule ? *rule : 0;
}

/* IPv4 in IPv6: mapped (RFC 4291, 2.5.5.2), and of NAT64 (RFC 6052). */
static __always_inline void unmap(struct address *a)
{
	u32 *w = a->word;

	if (a->family != AF_INET6)
		return;
	if ((!w[0] && !w[1] && w[2] == __builtin_bswap32(0xffff)) ||
	    (w[0] == __builtin_bswap32(0x64ff9b) && !w[1] && !w[2])) {
		w[0] = w[3];
		a->family = AF_INET;
	}
}

/* Who connects to no address reaches the loopback. */
static __always_inline void replace_none(struct address *a)
{
	u32 *w = a->word;

	if (a->family == AF_INET && !w[0])
		w[0] = __builtin_bswap32(0x7f000001);
	else if (a->family == AF_INET6 && !w[0] && !w[1] && !w[2] && !w[3])
		w[3] = __builtin_bswap32(1);
}

/* The rule that bans an address, with RULE_OBSERVES or without, 0 for none. The value of an address
 * has the rules of all prefixes around it. */
static __always_inline u32 banned(struct address *a)
{
	u32 *value = 0;

	unmap(a);
	replace_none(a);
	if (a->family == AF_INET) {
		struct prefix4 key = {.length = 32, .word = a->word[0]};

		if (has_exact4)
			value = bpf_map_lookup_elem(&exact4, &key.word);
		if (!value && has_prefixes4)
			value = bpf_map_lookup_elem(&prefixes4, &key);
		return rule_at(value, a->port);
	}
	if (has_exact6)
		value = bpf_map_lookup_elem(&exact6, a->word);
	if (!value && has_prefixes6) {
		struct prefix6 key = {.length = 128};

		__builtin_memcpy(key.word, a->word, sizeof(key.word));
		value = bpf_map_lookup_elem(&prefixes6, &key);
	}
	return rule_at(value, a->port);
}

/* Addresses at which many workers of one's own are. */
static __always_inline bool is_private(struct address *a)
{
	u32 h = __builtin_bswap32(a->word[0]);

	if (a->family == AF_INET)
		return h >> 24 == 10 || h >> 24 == 127 || !(h >> 24) || h >> 20 == 0xac1 || h >> 16 == 0xc0a8 ||
		       h >> 16 == 0xa9fe || h >> 22 == 0x191 || h >> 28 >= 14;
	return h >> 25 == 0x7e || h >> 22 == 0x3fa || h >> 24 == 0xff || (!a->word[0] && !a->word[1]);
}

/* Those of one's own network, and not of this node. */
static __always_inline bool is_near(struct address *a)
{
	bool loopback =
		a->family == AF_INET ? (__builtin_bswap32(a->word[0]) >> 24) == 127 : !a->word[0] && !a->word[1];

	return is_private(a) && !loopback;
}
