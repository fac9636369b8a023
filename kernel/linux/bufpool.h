/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * bufpool.h -- what Linux keeps per buffer of a pool.
 */
#ifndef PASTE_LINUX_BUFPOOL_H
#define PASTE_LINUX_BUFPOOL_H

#include <linux/skbuff.h>
#include <linux/workqueue.h>

#include "pool.h"

/* The stack's reference to a buffer's bytes; in kernel memory, never in the buffer. */
struct paste_ubuf {
	struct ubuf_info info;
	u32 index;
	struct paste_pool *pool;
};

struct paste_bufpool {
	struct paste_pool *pool;
	struct work_struct destroy;
	bool pins_module; /* a port's pool: the stack may hold its buffers after the port ended */
	struct paste_os_lock sent_lock; /* the first reference of a ubuf in sent */
	struct paste_ubuf *sent;  /* for what buffers send; ubufs: for what they received */
	struct paste_ubuf ubufs[];
};

static inline struct paste_bufpool *paste_bufpool(const struct paste_pool *pool)
{
	return pool->os;
}

/* From now on the module stays loaded as long as the pool lives. */
void paste_bufpool_pin_module(struct paste_pool *pool);

/* Wait until every pool that nobody needs any more is gone. */
void paste_bufpool_settle(void);

int paste_bufpool_init(void);
void paste_bufpool_exit(void);

#endif
