// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * bufpool.c -- birth and death of a pool's Linux side.
 *
 * The last reference to a pool usually goes in a softirq, when TCP frees a packet. Unpinning
 * sleeps, so death is a work item; module unload waits for all of them.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rcupdate.h>

#include "bufpool.h"
#include "region.h"
#include "zerocopy.h"

static struct workqueue_struct *graveyard;

static void destroy_pool(struct work_struct *work)
{
	struct paste_bufpool *bufpool = container_of(work, struct paste_bufpool, destroy);
	bool pins_module = bufpool->pins_module;

	paste_pool_destroy(bufpool->pool);
	if (pins_module)
		module_put(THIS_MODULE);
}

int paste_os_pool_init(struct paste_pool *pool)
{
	struct paste_bufpool *bufpool;
	u32 index;

	bufpool = kvzalloc(struct_size(bufpool, ubufs, 2 * (size_t)pool->total),
			   GFP_KERNEL | __GFP_NOWARN);
	if (!bufpool)
		return ENOMEM;
	paste_os_lock_init(&bufpool->sent_lock);
	bufpool->sent = bufpool->ubufs + pool->total;
	for (index = 0; index < 2 * pool->total; index++) {
		bufpool->ubufs[index].index = index % pool->total;
		bufpool->ubufs[index].pool = pool;
	}
	bufpool->pool = pool;
	INIT_WORK(&bufpool->destroy, destroy_pool);
	pool->os = bufpool;
	return 0;
}

void paste_os_pool_exit(struct paste_pool *pool)
{
	kvfree(pool->os);
	pool->os = NULL;
}

void paste_os_pool_defer_destroy(struct paste_pool *pool)
{
	queue_work(graveyard, &paste_bufpool(pool)->destroy);
}

void paste_bufpool_pin_module(struct paste_pool *pool)
{
	if (!paste_bufpool(pool)->pins_module)
		__module_get(THIS_MODULE);
	paste_bufpool(pool)->pins_module = true;
}

struct page *paste_buffer_page(const struct paste_pool *pool, u32 index, unsigned int *offset)
{
	u64 at = pool->buf_offset + (u64)index * pool->buf_size;

	*offset = offset_in_page(at);
	return paste_region_page(pool->region, at);
}

void paste_bufpool_settle(void)
{
	flush_workqueue(graveyard);
}

int paste_bufpool_init(void)
{
	graveyard = alloc_workqueue("paste_pools", WQ_UNBOUND, 0);
	return graveyard ? 0 : -ENOMEM;
}

void paste_bufpool_exit(void)
{
	/* Callbacks that just queued the last work may still be running in a softirq. */
	synchronize_rcu();
	destroy_workqueue(graveyard);
}
