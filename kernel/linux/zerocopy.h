/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * zerocopy.h -- pool buffers inside sk_buffs, and back.
 */
#ifndef PASTE_LINUX_ZEROCOPY_H
#define PASTE_LINUX_ZEROCOPY_H

#include <linux/skbuff.h>

struct paste_pool;
struct paste_skbcache;
struct sock;

/* The page of a buffer and where in it the buffer starts. */
struct page *paste_buffer_page(const struct paste_pool *pool, u32 index, unsigned int *offset);

/*
 * A frame of length bytes lies in buffer index (owner DEVICE) from the pool's frame_offset. If it
 * carries TCP payload of a registered flow: an sk_buff whose head holds the headers and whose one
 * fragment is the payload in place; the buffer is then lent to the stack (no longer DEVICE).
 * *owner: its socket, with a reference.
 * NULL: not for us, or no memory; the buffer is still the caller's, who copies the frame.
 */
struct sk_buff *paste_zerocopy_receive(struct napi_struct *napi, struct paste_skbcache *cache,
				       struct paste_pool *pool, u32 index, unsigned int length,
				       struct sock **owner);

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
