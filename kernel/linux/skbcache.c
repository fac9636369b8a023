// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * skbcache.c -- sk_buffs that carried payload once, for the next frames.
 *
 * Only such come in as nobody else refers to, with one fragment and with nothing that would have
 * to be given back but that fragment's page: what others hung on an sk_buff, they know how to
 * take off, so those are freed.
 */
#include <linux/mm.h>
#include <linux/netdevice.h>

#include "frame.h"
#include "skbcache.h"

static bool is_bare(const struct sk_buff *skb)
{
	return !skb_shared(skb) && !skb_cloned(skb) && skb->fclone == SKB_FCLONE_UNAVAILABLE &&
	       !skb->destructor && !skb->_skb_refdst && !skb_nfct(skb) &&
	       !skb_has_extensions((struct sk_buff *)skb) && !skb_pfmemalloc(skb) &&
	       !skb->pp_recycle && skb_shinfo(skb)->nr_frags == 1 && !skb_has_frag_list(skb) &&
	       !skb_zcopy((struct sk_buff *)skb);
}

/* What the allocator would have made of it. */
static void renew(struct sk_buff *skb)
{
	struct skb_shared_info *info = skb_shinfo(skb);
	bool head_frag = skb->head_frag;

	put_page(skb_frag_page(&info->frags[0]));
	memset(info, 0, offsetof(struct skb_shared_info, dataref));
	memset(skb, 0, offsetof(struct sk_buff, tail));
	skb->head_frag = head_frag;
	skb->truesize = SKB_TRUESIZE(skb_end_offset(skb));
	skb->data = skb->head;
	skb_reset_tail_pointer(skb);
	skb->mac_header = (typeof(skb->mac_header))~0U;
	skb->transport_header = (typeof(skb->transport_header))~0U;
	skb->alloc_cpu = raw_smp_processor_id();
}

struct sk_buff *paste_skbcache_take(struct paste_skbcache *cache, struct napi_struct *napi)
{
	struct sk_buff *skb;

	if (!cache->count)
		return napi_alloc_skb(napi, sizeof_field(struct paste_frame, headers));
	skb = cache->skbs[--cache->count];
	skb_reserve(skb, NET_SKB_PAD + NET_IP_ALIGN);
	skb->dev = napi->dev;
	return skb;
}

void paste_skbcache_put(struct paste_skbcache *cache, struct sk_buff *skb)
{
	skb_orphan(skb);
	if (!cache || cache->count == PASTE_SKBCACHE_SIZE || !is_bare(skb)) {
		__kfree_skb(skb);
		return;
	}
	renew(skb);
	cache->skbs[cache->count++] = skb;
}

void paste_skbcache_purge(struct paste_skbcache *cache)
{
	while (cache->count)
		kfree_skb(cache->skbs[--cache->count]);
}
