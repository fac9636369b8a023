/* SPDX-License-Identifier: BSD-2-Clause */
/* layout.c -- where netmap_if, rings and buffers lie in a region */
#include "layout.h"

#define DEFAULT_IF_TOTAL   2u
#define DEFAULT_IF_SIZE    1024u
#define DEFAULT_RING_TOTAL 4u
#define DEFAULT_RING_SIZE  20480u
#define BUF_TOTAL_LIMIT    (1u << 30)
#define OBJECT_SIZE_LIMIT  (1u << 24)
#define OBJECT_ALIGN       64u
#define FIRST_BUFFER       2u /* 0 and 1 are never lent */

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + PASTE_PAGE_SIZE - 1) & ~(uint64_t)(PASTE_PAGE_SIZE - 1);
}

/* Size of the objects of a pool: as wished, but at least needed when nothing is wished. */
static int object_size(uint32_t wished, uint32_t standard, uint64_t needed, uint32_t *size)
{
	uint64_t bytes = wished;

	if (wished == 0)
		bytes = needed > standard ? needed : standard;
	if (bytes > OBJECT_SIZE_LIMIT)
		return EINVAL;
	if (bytes < needed)
		return ENOMEM;
	*size = (uint32_t)((bytes + OBJECT_ALIGN - 1) & ~(uint64_t)(OBJECT_ALIGN - 1));
	return 0;
}

static int object_total(uint32_t wished, uint32_t standard, uint32_t needed, uint32_t *total)
{
	*total = wished;
	if (wished == 0)
		*total = needed > standard ? needed : standard;
	return *total < needed ? ENOMEM : 0;
}

static int lay_out_rings(struct paste_layout *layout, const struct nmreq_pools_info *wanted,
			 const struct paste_layout_need *need)
{
	uint64_t if_bytes = sizeof(struct netmap_if) + need->rings * (uint64_t)sizeof(int64_t);
	uint64_t ring_bytes = sizeof(struct netmap_ring) +
			      need->slots * (uint64_t)sizeof(struct netmap_slot);
	uint64_t if_pool, ring_pool;
	int error;

	error = object_size(wanted->nr_if_pool_objsize, DEFAULT_IF_SIZE, if_bytes,
			    &layout->if_size);
	if (!error)
		error = object_size(wanted->nr_ring_pool_objsize, DEFAULT_RING_SIZE, ring_bytes,
				    &layout->ring_size);
	if (!error)
		error = object_total(wanted->nr_if_pool_objtotal, DEFAULT_IF_TOTAL, 1,
				     &layout->if_total);
	if (!error)
		error = object_total(wanted->nr_ring_pool_objtotal, DEFAULT_RING_TOTAL,
				     need->rings, &layout->ring_total);
	if (error)
		return error;
	if_pool = (uint64_t)layout->if_total * layout->if_size;
	ring_pool = (uint64_t)layout->ring_total * layout->ring_size;
	if (if_pool > PASTE_RINGS_LIMIT || ring_pool > PASTE_RINGS_LIMIT)
		return ENOMEM;
	layout->if_offset = 0;
	layout->ring_offset = whole_pages(if_pool);
	layout->rings_bytes = layout->ring_offset + whole_pages(ring_pool);
	return 0;
}

static bool is_buf_size(uint32_t bytes)
{
	return bytes == 2048 || bytes == 4096;
}

int paste_layout_extmem(struct paste_layout *layout, const struct nmreq_pools_info *wanted,
			const struct paste_layout_need *need, bool kernel_rings)
{
	uint64_t fit;
	int error;

	memset(layout, 0, sizeof(*layout));
	layout->extmem = true;
	layout->kernel_rings = kernel_rings;
	layout->memsize = wanted->nr_memsize;
	layout->buf_size = wanted->nr_buf_pool_objsize;
	if (layout->buf_size == 0)
		layout->buf_size = PASTE_BUF_SIZE_DEFAULT;
	if (layout->memsize == 0 || layout->memsize % PASTE_PAGE_SIZE != 0 ||
	    !is_buf_size(layout->buf_size))
		return EINVAL;
	error = lay_out_rings(layout, wanted, need);
	if (error)
		return error;
	layout->buf_offset = kernel_rings ? 0 : layout->rings_bytes;
	if (layout->buf_offset > layout->memsize)
		return ENOMEM;
	fit = (layout->memsize - layout->buf_offset) / layout->buf_size;
	if (fit > BUF_TOTAL_LIMIT)
		fit = BUF_TOTAL_LIMIT;
	layout->buf_total = wanted->nr_buf_pool_objtotal;
	if (layout->buf_total == 0)
		layout->buf_total = (uint32_t)fit;
	if (layout->buf_total > fit ||
	    layout->buf_total < (uint64_t)need->buffers + FIRST_BUFFER)
		return ENOMEM;
	return 0;
}

int paste_layout_plain(struct paste_layout *layout, const struct paste_layout_need *need)
{
	struct nmreq_pools_info standard;
	int error;

	memset(layout, 0, sizeof(*layout));
	memset(&standard, 0, sizeof(standard));
	layout->buf_size = PASTE_BUF_SIZE_DEFAULT;
	error = lay_out_rings(layout, &standard, need);
	if (error)
		return error;
	if (need->buffers > BUF_TOTAL_LIMIT - FIRST_BUFFER)
		return ENOMEM;
	layout->buf_total = need->buffers + FIRST_BUFFER;
	layout->buf_offset = layout->rings_bytes;
	layout->memsize = layout->buf_offset +
			  whole_pages((uint64_t)layout->buf_total * layout->buf_size);
	return 0;
}

void paste_layout_info(const struct paste_layout *layout, struct nmreq_pools_info *info)
{
	info->nr_memsize = layout->memsize;
	info->nr_if_pool_offset = layout->if_offset;
	info->nr_if_pool_objtotal = layout->if_total;
	info->nr_if_pool_objsize = layout->if_size;
	info->nr_ring_pool_offset = layout->ring_offset;
	info->nr_ring_pool_objtotal = layout->ring_total;
	info->nr_ring_pool_objsize = layout->ring_size;
	info->nr_buf_pool_offset = layout->buf_offset;
	info->nr_buf_pool_objtotal = layout->buf_total;
	info->nr_buf_pool_objsize = layout->buf_size;
}
