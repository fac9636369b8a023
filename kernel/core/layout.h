/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * layout.h -- where netmap_if, rings and buffers lie in a region.
 *
 *     EXTMEM                     EXTMEM + KERNEL_RINGS          plain kernel memory
 *   +----------------+         user's        kernel's         +----------------+
 *   | if pool        |       +---------+   +-----------+      | if pool        |
 *   | ring pool      |       | buf     |   | if pool   |      | ring pool      |
 *   | buf pool       |       | pool    |   | ring pool |      | buf pool       |
 *   +----------------+       +---------+   +-----------+      +----------------+
 *
 * Every pool starts on a page. All numbers come from the user: nothing here overflows.
 */
#ifndef PASTE_LAYOUT_H
#define PASTE_LAYOUT_H

#include "paste_os_types.h"
#include "paste_abi.h"

#define PASTE_PAGE_SIZE   4096u
#define PASTE_BUF_SIZE_DEFAULT 2048u
#define PASTE_RINGS_LIMIT (64u << 20) /* bytes of if and ring pools in kernel memory */

struct paste_layout {
	uint64_t memsize; /* of the region that holds the buffers, bytes */
	uint64_t if_offset, ring_offset, buf_offset; /* in the region that holds the pool */
	uint32_t if_total, if_size;
	uint32_t ring_total, ring_size;
	uint32_t buf_total, buf_size;
	uint64_t rings_bytes; /* if and ring pools together, whole pages */
	bool kernel_rings;    /* these two lie in a region of their own */
	bool extmem;          /* the buffers lie in the user's memory */
};

/* What a port must be able to place. */
struct paste_layout_need {
	uint32_t rings;
	uint32_t slots;   /* of the largest ring */
	uint32_t buffers; /* plain memory: how many; EXTMEM: at least so many */
};

/*
 * EXTMEM: wanted as in nmreq_pools_info, 0 for defaults (nr_memsize has none).
 * EINVAL: a size that cannot be; ENOMEM: it does not fit.
 */
int paste_layout_extmem(struct paste_layout *layout, const struct nmreq_pools_info *wanted,
			const struct paste_layout_need *need, bool kernel_rings);
/* Plain kernel memory: as much as needed. ENOMEM: unreasonably much. */
int paste_layout_plain(struct paste_layout *layout, const struct paste_layout_need *need);
/* For the user. mem_id is left alone. */
void paste_layout_info(const struct paste_layout *layout, struct nmreq_pools_info *info);

#endif
