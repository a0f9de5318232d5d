/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is remembered of a stream while its first bytes are judged, and what they have said so
 * far. No byte is kept: texts are hashed as they come, in whatever pieces.
 */
#pragma once

#include "kernel.h"

#define WINDOW 16384 /* bytes of a stream that are judged */
#define CHUNK 512    /* bytes that are read at a time */
/* The verifier follows each round of a loop, with all its branches: so those with few may have many. What is
 * done in a round is a global function where it has many branches: it is verified once then. */
#define STEPS 64      /* bytes that only wait for another one */
#define HASH_STEPS 32 /* bytes that are hashed */
#define FEW_STEPS 16  /* bytes, or more that are taken at a time */
#define LEAST_STEPS 4 /* bytes of which each may mean much */
#define LABELS 8      /* of a name, from its end, that are compared */
#define NAME_MAX 254
#define AREAS 4 /* of a CPU: judgements that may be interrupted by others at a time, and one more */
#define NO_AREA AREAS

enum kind {
	START, /* the next byte says what it is */
	JSON,
	HTTP,
	SOCKS,
	HELLO, /* a TLS ClientHello */
	QUERY, /* a DNS question */
	DONE,  /* nothing more to say */
};

/* Bits of found: what a stream has said. */
enum finding {
	SAID_LOGIN = 1 << 0,
	SAID_MINING = 1 << 1,
	SAID_ETH = 1 << 2,
	SAID_SUBMIT = 1 << 3,
	SAID_TEMPLATE = 1 << 4,
	SAID_WORK = 1 << 5,
	SAID_QUERY = 1 << 6,  /* a listed name in a DNS question */
	SAID_HOST = 1 << 7,   /* in CONNECT or SOCKS */
	SAID_SERVER = 1 << 8, /* in a ClientHello */
	SAID_HELLO = 1 << 9,  /* a whole ClientHello without ALPN */
};

#define STRATUM (SAID_LOGIN | SAID_MINING | SAID_ETH | SAID_SUBMIT | SAID_TEMPLATE | SAID_WORK)

struct name {
	u64 hash;	    /* of what came */
	u64 before[LABELS]; /* of what came before each of the last labels */
	u8 start[LABELS];   /* length of that */
	u32 labels;
	u8 len;
	u8 dot; /* a dot came, which means something only if more comes */
};

struct stream {
	struct name name;
	u64 hash;   /* of a text in JSON */
	u32 number; /* that is being read, in TLS, SOCKS and escapes */
	u32 words;  /* that this object has said, see enum word */
	u32 body;   /* bytes left of the ClientHello */
	u32 found;  /* enum finding */
	u32 listed; /* the name in the list that was named, see struct listed */
	u16 port;   /* that CONNECT or SOCKS asked for */
	u16 depth;  /* of nesting */
	u16 record; /* bytes left of the TLS record */
	u16 skip, need, rest, name_left;
	u16 left;
	u8 kind, sub, at, lex, context, key;
	u8 proxies;  /* that were asked */
	u8 value;    /* whether a string is a value, in an object */
	u8 objects;  /* bits of the depths 1 and 2: whether an object */
	u8 digits;   /* of an escape */
	u8 newlines; /* in a row, in a head */
	u8 connect;  /* what the head is, see proxy.bpf.h */
	u8 in_http;  /* the JSON is the body of a request */
	u8 alpn;
	u8 server; /* the ClientHello names one */
};

/* What judging takes. Memory, of whose content the verifier knows nothing, and not the
 * stack: so no state is multiplied by the values of another. */
struct work {
	u64 users; /* judgements that have it, or are finding out that another one has */
	u32 area;  /* its number */
	struct stream s;
	u32 from, left; /* of the packet */
	u32 urgent;	/* where in it a byte is that is not read with the rest, 0 for none */
	u32 pos, len;	/* of buf */
	u32 stop;	/* what decides: nothing after it is judged */
	u8 buf[CHUNK];
};

/* Areas of scratch space of each CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, AREAS);
	__type(key, u32);
	__type(value, struct work);
} works SEC(".maps");

/* The scratch space of an area, 0 for NO_AREA. */
static __always_inline struct work *this_work(u32 area)
{
	return bpf_map_lookup_elem(&works, &area);
}

/*
 * Takes an area for a judgement. Programs of a cgroup have no guard against running inside each
 * other: an interrupt, or with preemption another task, may send on this CPU while one judges, and
 * need not end before that one goes on. None ever has the area of another: who finds more than
 * itself there leaves it as it is. Returns NO_AREA if all are taken.
 */
__noinline u32 take_area(void)
{
	for (u32 area = 0; area < AREAS; area++) {
		struct work *w = this_work(area);

		if (!w)
			break;
		__sync_fetch_and_add(&w->users, 1);
		if (w->users == 1) {
			w->area = area;
			return area;
		}
		__sync_fetch_and_add(&w->users, -1);
	}
	return NO_AREA;
}

static __always_inline void leave_area(struct work *w)
{
	__sync_fetch_and_add(&w->users, -1);
}

/* Texts are hashed with a factor that is secret to this agent: nobody can make a text that
 * has the hash of another. */
const volatile u64 power[256]; /* of the factor */

static __always_inline u64 hash_byte(u64 hash, u32 c)
{
	return hash * power[1] + c + 1;
}

/* White space of ASCII, and the bytes of the no-break space and of the byte order mark in UTF-8, which
 * pools trim as well. */
static __always_inline bool is_space(u8 c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || c == 0xc2 || c == 0xa0 || c == 0xef || c == 0xbb || c == 0xbf;
}

/* Without a branch, of which the verifier would follow both sides of each byte. */
static __always_inline u8 lower(u8 c)
{
	u32 above = (u8)(c - 'A');

	barrier_var(above);
	return c | (above - 26) >> 31 << 5;
}

static __always_inline bool goes_on(struct work *w, u8 kind)
{
	return w->pos < w->len && w->s.kind == kind && !w->stop;
}

static __always_inline u8 byte_at(struct work *w, u32 pos)
{
	return w->buf[pos & (CHUNK - 1)];
}

static __always_inline u8 next_byte(struct work *w)
{
	return w->buf[w->pos++ & (CHUNK - 1)];
}
