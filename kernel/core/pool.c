/* SPDX-License-Identifier: BSD-2-Clause */
/* pool.c -- buffers of one region, and who owns each */
#include "pool.h"

#define RELEASE_BATCH 1024u /* buffers released under one hold of the lock */

static void push_free(struct paste_pool *pool, uint32_t index)
{
	pool->buffers[index].next = pool->free_head;
	pool->free_head = index;
}

static void give_up(struct paste_pool *pool, uint32_t index)
{
	struct paste_buffer *buffer = &pool->buffers[index];

	if (buffer->stack_refs != 0) {
		paste_pool_set_owner(pool, buffer, PASTE_NONE);
		return;
	}
	paste_pool_set_owner(pool, buffer, PASTE_FREE);
	push_free(pool, index);
}

/* Ascending, so that an application's buffers lie together at the start. */
static void rebuild_free_list(struct paste_pool *pool)
{
	uint32_t index;

	pool->free_head = 0;
	for (index = pool->total; index-- > PASTE_FIRST_BUFFER;)
		if (pool->buffers[index].owner == PASTE_FREE)
			push_free(pool, index);
}

int paste_pool_create(struct paste_os_region *region, uint64_t buf_offset, uint32_t buf_size,
		      uint32_t total, struct paste_pool **result)
{
	struct paste_pool *pool = paste_os_alloc(sizeof(*pool));
	int error = ENOMEM;

	if (!pool)
		goto no_pool;
	pool->buffers = paste_os_alloc(total * sizeof(*pool->buffers));
	if (!pool->buffers)
		goto no_buffers;
	paste_os_lock_init(&pool->lock);
	pool->refs = 1;
	pool->region = region;
	pool->buf_offset = buf_offset;
	pool->buf_size = buf_size;
	pool->total = total;
	pool->count[PASTE_FREE] = total - PASTE_FIRST_BUFFER;
	rebuild_free_list(pool);
	error = paste_os_pool_init(pool);
	if (error)
		goto no_os;
	*result = pool;
	return 0;
no_os:
	paste_os_free(pool->buffers);
no_buffers:
	paste_os_free(pool);
no_pool:
	paste_os_region_free(region);
	return error;
}

void paste_pool_destroy(struct paste_pool *pool)
{
	uint32_t leaked = pool->total - PASTE_FIRST_BUFFER - pool->count[PASTE_FREE];

	if (leaked != 0)
		paste_os_log("pool ends with %u buffers that nobody gave back", leaked);
	paste_os_pool_exit(pool);
	paste_os_region_free(pool->region);
	paste_os_free(pool->buffers);
	paste_os_free(pool);
}

void paste_pool_get(struct paste_pool *pool)
{
	paste_os_lock(&pool->lock);
	pool->refs++;
	paste_os_unlock(&pool->lock);
}

void paste_pool_put(struct paste_pool *pool)
{
	bool last;

	paste_os_lock(&pool->lock);
	last = --pool->refs == 0;
	paste_os_unlock(&pool->lock);
	if (last)
		paste_os_pool_defer_destroy(pool);
}

/* Bit i of bitmap, whose bits past the end are clear. */
static bool is_set(const uint64_t *bitmap, uint64_t bits, uint64_t i)
{
	return i < bits && (bitmap[i / 64] >> (i % 64) & 1) != 0;
}

static int check_reserve(const struct paste_pool *pool, const uint64_t *bitmap, uint64_t bits)
{
	uint64_t index;

	for (index = 0; index < bits; index++) {
		if (!is_set(bitmap, bits, index))
			continue;
		if (index < PASTE_FIRST_BUFFER || index >= pool->total)
			return EINVAL;
		if (pool->buffers[index].owner != PASTE_FREE)
			return EBUSY;
	}
	return 0;
}

int paste_pool_reserve(struct paste_pool *pool, const uint64_t *bitmap, uint64_t bits)
{
	uint32_t index;
	int error;

	if (bits > pool->total)
		return EINVAL;
	/* No lock: it would be held long, and nobody else knows the pool yet. */
	error = check_reserve(pool, bitmap, bits);
	if (error)
		return error;
	for (index = PASTE_FIRST_BUFFER; index < pool->total; index++)
		if (is_set(bitmap, bits, index))
			paste_pool_set_owner(pool, &pool->buffers[index], PASTE_APP);
	rebuild_free_list(pool);
	return 0;
}

uint32_t paste_pool_take_locked(struct paste_pool *pool, enum paste_owner owner)
{
	uint32_t index = pool->free_head;

	if (index != 0) {
		pool->free_head = pool->buffers[index].next;
		pool->buffers[index].next = 0;
		paste_pool_set_owner(pool, &pool->buffers[index], owner);
	}
	return index;
}

uint32_t paste_pool_take(struct paste_pool *pool, enum paste_owner owner)
{
	uint32_t index;

	paste_os_lock(&pool->lock);
	index = paste_pool_take_locked(pool, owner);
	paste_os_unlock(&pool->lock);
	return index;
}

uint32_t paste_pool_take_many(struct paste_pool *pool, enum paste_owner owner, uint32_t *indices,
			      uint32_t count)
{
	uint32_t taken = 0;

	paste_os_lock(&pool->lock);
	while (taken < count && pool->free_head != 0)
		indices[taken++] = paste_pool_take_locked(pool, owner);
	paste_os_unlock(&pool->lock);
	return taken;
}

bool paste_pool_move(struct paste_pool *pool, uint32_t index, enum paste_owner from,
		     enum paste_owner to)
{
	bool valid;

	paste_os_lock(&pool->lock);
	valid = paste_pool_move_locked(pool, index, from, to);
	paste_os_unlock(&pool->lock);
	return valid;
}

bool paste_pool_release(struct paste_pool *pool, uint32_t index, enum paste_owner from)
{
	bool valid;

	paste_os_lock(&pool->lock);
	valid = paste_pool_owns(pool, index, from);
	if (valid)
		give_up(pool, index);
	paste_os_unlock(&pool->lock);
	return valid;
}

bool paste_pool_swap_locked(struct paste_pool *pool, uint32_t former, uint32_t index)
{
	if (!paste_pool_owns(pool, index, PASTE_QUEUED))
		return false;
	paste_pool_set_owner(pool, &pool->buffers[index], PASTE_APP);
	if (paste_pool_owns(pool, former, PASTE_SLOT))
		give_up(pool, former);
	return true;
}

/* Under the lock. */
static void add_stack_ref(struct paste_pool *pool, struct paste_buffer *buffer)
{
	/* While anything is lent the pool outlives its port and its NIC. */
	if (buffer->stack_refs++ == 0 && pool->lent++ == 0)
		pool->refs++;
}

bool paste_pool_lend(struct paste_pool *pool, uint32_t index)
{
	bool valid;

	paste_os_lock(&pool->lock);
	valid = paste_pool_owns(pool, index, PASTE_DEVICE) && pool->buffers[index].stack_refs == 0;
	if (valid) {
		paste_pool_set_owner(pool, &pool->buffers[index], PASTE_NONE);
		add_stack_ref(pool, &pool->buffers[index]);
	}
	paste_os_unlock(&pool->lock);
	return valid;
}

int paste_pool_send(struct paste_pool *pool, uint32_t index, bool keep, uint32_t *fresh)
{
	int error = 0;

	paste_os_lock(&pool->lock);
	*fresh = 0;
	if (!paste_pool_owns(pool, index, PASTE_APP)) {
		error = EINVAL;
	} else if (!keep) {
		*fresh = paste_pool_take_locked(pool, PASTE_SLOT);
		error = *fresh == 0 ? EAGAIN : 0;
	}
	if (!error) {
		add_stack_ref(pool, &pool->buffers[index]);
		if (!keep)
			paste_pool_set_owner(pool, &pool->buffers[index], PASTE_NONE);
	}
	paste_os_unlock(&pool->lock);
	return error;
}

void paste_pool_stack_get(struct paste_pool *pool, uint32_t index)
{
	paste_os_lock(&pool->lock);
	add_stack_ref(pool, &pool->buffers[index]);
	paste_os_unlock(&pool->lock);
}

/* Under the lock. True: it was the pool's last reference. */
static bool drop_stack_ref(struct paste_pool *pool, uint32_t index)
{
	struct paste_buffer *buffer = &pool->buffers[index];

	if (--buffer->stack_refs != 0)
		return false;
	if (buffer->owner == PASTE_NONE)
		give_up(pool, index);
	return --pool->lent == 0 && --pool->refs == 0;
}

void paste_pool_stack_put(struct paste_pool *pool, uint32_t index)
{
	bool last;

	paste_os_lock(&pool->lock);
	last = drop_stack_ref(pool, index);
	paste_os_unlock(&pool->lock);
	if (last)
		paste_os_pool_defer_destroy(pool);
}

bool paste_pool_capture(struct paste_pool *pool, uint32_t index)
{
	return paste_pool_move(pool, index, PASTE_NONE, PASTE_QUEUED);
}

bool paste_pool_steal(struct paste_pool *pool, uint32_t index)
{
	bool valid, last = false;

	paste_os_lock(&pool->lock);
	valid = paste_pool_owns(pool, index, PASTE_NONE) && pool->buffers[index].stack_refs == 1;
	if (valid) {
		paste_pool_set_owner(pool, &pool->buffers[index], PASTE_QUEUED);
		last = drop_stack_ref(pool, index);
	}
	paste_os_unlock(&pool->lock);
	if (last)
		paste_os_pool_defer_destroy(pool);
	return valid;
}

void paste_pool_release_all(struct paste_pool *pool, enum paste_owner owner)
{
	uint32_t index = PASTE_FIRST_BUFFER;
	uint32_t end;

	while (index < pool->total) {
		end = pool->total - index > RELEASE_BATCH ? index + RELEASE_BATCH : pool->total;
		paste_os_lock(&pool->lock);
		for (; index < end; index++)
			if (pool->buffers[index].owner == (uint8_t)owner)
				give_up(pool, index);
		paste_os_unlock(&pool->lock);
	}
}

uint32_t paste_pool_count(struct paste_pool *pool, enum paste_owner owner)
{
	uint32_t count;

	paste_os_lock(&pool->lock);
	count = pool->count[owner];
	paste_os_unlock(&pool->lock);
	return count;
}

void *paste_pool_address(const struct paste_pool *pool, uint32_t index)
{
	return (char *)paste_os_region_address(pool->region) + pool->buf_offset +
	       (uint64_t)index * pool->buf_size;
}
