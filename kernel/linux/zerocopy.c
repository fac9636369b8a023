// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * zerocopy.c -- lending a pool buffer to the stack, and knowing when it comes back.
 *
 * An sk_buff that carries the zero-copy flags when it enters the stack is copied at once
 * (skb_orphan_frags_rx). So the flags are clear at first, and the sk_buff's destructor sets
 * them: ip_rcv_core() and ip6_rcv_core() call skb_orphan(), and so does every early drop. From
 * there on the completion callback runs exactly when the last reference to the data goes.
 *
 * The head gets no tailroom: skb_condense() and receive-queue coalescing would otherwise copy
 * later payload into it.
 */
#include <linux/etherdevice.h>
#include <net/inet6_hashtables.h>
#include <net/inet_hashtables.h>
#include <net/tcp.h>

#include "bufpool.h"
#include "capture.h"
#include "compat.h"
#include "frame.h"
#include "skbcache.h"
#include "socket.h"
#include "zerocopy.h"

static void lent_let_go(struct sk_buff *skb, struct ubuf_info *info, bool success)
{
	struct paste_ubuf *ubuf = container_of(info, struct paste_ubuf, info);

	if (refcount_dec_and_test(&info->refcnt))
		paste_pool_stack_put(ubuf->pool, ubuf->index);
}

static const struct ubuf_info_ops lent_ops = { .complete = lent_let_go };

static void arm(struct sk_buff *skb)
{
	struct ubuf_info *info = skb_shinfo(skb)->destructor_arg;

	skb_shinfo(skb)->flags |= info->flags;
}

static struct sock *find_socket(struct net_device *dev, const struct paste_frame *frame)
{
	const struct tcphdr *tcp = (void *)(frame->headers + frame->transport);
	struct inet_hashinfo *table = dev_net(dev)->ipv4.tcp_death_row.hashinfo;

	if (frame->eth.h_proto == htons(ETH_P_IP)) {
		const struct iphdr *ip = (void *)(frame->headers + frame->network);

		return __inet_lookup_established(dev_net(dev), table, ip->saddr, tcp->source,
						 ip->daddr, ntohs(tcp->dest), dev->ifindex, 0);
	}
#if IS_ENABLED(CONFIG_IPV6)
	{
		const struct ipv6hdr *ip = (void *)(frame->headers + frame->network);

		return __inet6_lookup_established(dev_net(dev), table, &ip->saddr, tcp->source,
						  &ip->daddr, ntohs(tcp->dest), dev->ifindex, 0);
	}
#else
	return NULL;
#endif
}

struct sock *paste_zerocopy_owner(struct net_device *dev, const struct paste_frame *frame)
{
	struct sock *sk = find_socket(dev, frame);

	if (!sk || (sk_fullsock(sk) && paste_socket_is_registered(sk)))
		return sk;
	sock_gen_put(sk);
	return NULL;
}

struct sk_buff *paste_zerocopy_lend(struct napi_struct *napi, struct paste_skbcache *cache,
				    const struct paste_frame *frame, struct paste_pool *pool,
				    u32 index)
{
	struct paste_ubuf *ubuf = &paste_bufpool(pool)->ubufs[index];
	unsigned int in_page;
	struct page *page = paste_buffer_page(pool, index, &in_page);
	struct sk_buff *skb = paste_skbcache_take(cache, napi);

	if (!skb)
		return NULL;
	skb_reserve(skb, skb_tailroom(skb) - frame->payload);
	skb_put_data(skb, frame->headers, frame->payload);
	get_page(page);
	skb_add_rx_frag(skb, 0, page, in_page + pool->frame_offset + frame->payload,
			frame->payload_bytes, pool->buf_size);
	refcount_set(&ubuf->info.refcnt, 1);
	paste_compat_ubuf_init(&ubuf->info, &lent_ops);
	ubuf->info.flags = SKBFL_ZEROCOPY_FRAG | SKBFL_DONT_ORPHAN;
	skb_shinfo(skb)->destructor_arg = &ubuf->info;
	skb->destructor = arm;
	WARN_ON_ONCE(!paste_pool_lend(pool, index)); /* it was posted: DEVICE */
	return skb;
}

bool paste_zerocopy_find(struct sk_buff *skb, const struct paste_pool *pool, u32 *index,
			 unsigned int *start)
{
	const skb_frag_t *frag = &skb_shinfo(skb)->frags[0];
	const struct paste_ubuf *ubuf;
	unsigned int in_page;

	if (skb_headlen(skb) || skb_shinfo(skb)->nr_frags != 1 || skb_has_frag_list(skb))
		return false;
	if (!skb_zcopy(skb) || !paste_compat_ubuf_is(skb_uarg(skb), &lent_ops))
		return false;
	ubuf = container_of(skb_uarg(skb), struct paste_ubuf, info);
	if (ubuf->pool != pool || skb_frag_page(frag) !=
	    paste_buffer_page(pool, ubuf->index, &in_page))
		return false;
	*index = ubuf->index;
	*start = skb_frag_off(frag) - in_page;
	return true;
}

bool paste_zerocopy_steal(struct sk_buff *skb, struct paste_pool *pool, u32 index)
{
	struct ubuf_info *info = &paste_bufpool(pool)->ubufs[index].info;

	if (skb_shared(skb) || skb_cloned(skb) || refcount_read(&info->refcnt) != 1 ||
	    !paste_pool_steal(pool, index))
		return false;
	skb_shinfo(skb)->flags &= ~SKBFL_ALL_ZEROCOPY;
	return true;
}
