/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * zerocopy.h -- pool buffers inside sk_buffs, and back.
 */
#ifndef PASTE_LINUX_ZEROCOPY_H
#define PASTE_LINUX_ZEROCOPY_H

#include <linux/skbuff.h>

struct paste_frame;
struct paste_pool;
struct paste_skbcache;
struct sock;

/* The page of a buffer and where in it the buffer starts. */
struct page *paste_buffer_page(const struct paste_pool *pool, u32 index, unsigned int *offset);

/* The socket that the segment is for, with a reference, if a port captures it; NULL: none. */
struct sock *paste_zerocopy_owner(struct net_device *dev, const struct paste_frame *frame);
/*
 * The segment lies in buffer index (owner DEVICE) from the pool's frame_offset and has payload.
 * Returns an sk_buff whose head holds the headers and whose one fragment is the payload in place;
 * the buffer is then lent to the stack (no longer DEVICE). NULL: no memory.
 */
struct sk_buff *paste_zerocopy_lend(struct napi_struct *napi, struct paste_skbcache *cache,
				    const struct paste_frame *frame, struct paste_pool *pool,
				    u32 index);

/*
 * Is skb's data, headers pulled, exactly one buffer of pool in place? Then its index and where in
 * the buffer the data starts, bytes.
 */
bool paste_zerocopy_find(struct sk_buff *skb, const struct paste_pool *pool, u32 *index,
			 unsigned int *start);
/*
 * The buffer of such an skb becomes QUEUED, and is skb's no more. False, and nothing happened:
 * others refer to it, or its payload was captured before.
 */
bool paste_zerocopy_steal(struct sk_buff *skb, struct paste_pool *pool, u32 index);

#endif
