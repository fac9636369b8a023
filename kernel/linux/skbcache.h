/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * skbcache.h -- sk_buffs that carried payload once, for the next frames.
 *
 * Each is as fresh from the allocator: no data, no owner, a head of the one size. A cache belongs
 * to one NAPI instance, and only its poll touches it.
 */
#ifndef PASTE_LINUX_SKBCACHE_H
#define PASTE_LINUX_SKBCACHE_H

#include <linux/skbuff.h>

#define PASTE_SKBCACHE_SIZE 64

struct paste_skbcache {
	struct sk_buff *skbs[PASTE_SKBCACHE_SIZE];
	unsigned int count;
};

/* Room for the longest headers of struct paste_frame; NULL: no memory. */
struct sk_buff *paste_skbcache_take(struct paste_skbcache *cache, struct napi_struct *napi);
/* skb is the caller's; its data is needed no more. cache may be NULL: then it is freed. */
void paste_skbcache_put(struct paste_skbcache *cache, struct sk_buff *skb);
void paste_skbcache_purge(struct paste_skbcache *cache);

#endif
