/* SPDX-License-Identifier: BSD-2-Clause */
/* test_pool.c -- random operations on a pool, compared with a model of one owner per buffer */
#include "check.h"
#include "fake.h"

#define BUFFERS    66u /* with 0 and 1 */
#define OPERATIONS 400000u
#define BUF_SIZE   2048u

struct model {
	enum paste_owner owner[BUFFERS];
	bool lent[BUFFERS];
};

static struct paste_pool *new_pool(uint32_t buffers)
{
	struct paste_os_region *region;
	struct paste_pool *pool;
	uint64_t bytes = (buffers * (uint64_t)BUF_SIZE + PASTE_PAGE_SIZE - 1) &
			 ~(uint64_t)(PASTE_PAGE_SIZE - 1);

	CHECK_EQUAL(paste_os_region_alloc(bytes, &region), 0);
	CHECK_EQUAL(paste_pool_create(region, 0, BUF_SIZE, buffers, &pool), 0);
	return pool;
}

static bool model_valid(const struct model *model, uint32_t index, enum paste_owner owner)
{
	return index >= 2 && index < BUFFERS && model->owner[index] == owner;
}

static void model_give_up(struct model *model, uint32_t index)
{
	model->owner[index] = model->lent[index] ? PASTE_NONE : PASTE_FREE;
}

static enum paste_owner pick_owner(struct check_random *random)
{
	return PASTE_DEVICE + check_below(random, PASTE_OWNERS - PASTE_DEVICE);
}

/* Forged indices too: 0, 1, past the end, huge. */
static uint32_t pick_index(struct check_random *random)
{
	return check_below(random, 50) == 0 ? (uint32_t)check_random(random) :
					      check_below(random, BUFFERS + 2);
}

static void take(struct paste_pool *pool, struct model *model, struct check_random *random)
{
	enum paste_owner owner = pick_owner(random);
	uint32_t index = paste_pool_take(pool, owner);
	uint32_t i;

	if (index == 0) {
		for (i = 2; i < BUFFERS; i++)
			CHECK(model->owner[i] != PASTE_FREE);
		return;
	}
	CHECK(model_valid(model, index, PASTE_FREE) && !model->lent[index]);
	model->owner[index] = owner;
}

static void move(struct paste_pool *pool, struct model *model, struct check_random *random)
{
	uint32_t index = pick_index(random);
	enum paste_owner from = pick_owner(random), to = pick_owner(random);
	bool valid = model_valid(model, index, from);

	CHECK_EQUAL(paste_pool_move(pool, index, from, to), valid);
	if (valid)
		model->owner[index] = to;
}

static void release(struct paste_pool *pool, struct model *model, struct check_random *random)
{
	uint32_t index = pick_index(random);
	enum paste_owner from = pick_owner(random);
	bool valid = model_valid(model, index, from);

	CHECK_EQUAL(paste_pool_release(pool, index, from), valid);
	if (valid)
		model_give_up(model, index);
}

static void swap(struct paste_pool *pool, struct model *model, struct check_random *random)
{
	uint32_t former = pick_index(random), index = pick_index(random);
	bool valid = model_valid(model, index, PASTE_QUEUED);

	paste_pool_lock(pool);
	CHECK_EQUAL(paste_pool_swap_locked(pool, former, index), valid);
	paste_pool_unlock(pool);
	if (!valid)
		return;
	model->owner[index] = PASTE_APP;
	if (model_valid(model, former, PASTE_SLOT))
		model_give_up(model, former);
}

static void lend_or_put(struct paste_pool *pool, struct model *model,
			struct check_random *random)
{
	uint32_t index = pick_index(random);
	bool valid;

	if (index >= 2 && index < BUFFERS && model->lent[index]) {
		paste_pool_stack_put(pool, index);
		model->lent[index] = false;
		if (model->owner[index] == PASTE_NONE)
			model->owner[index] = PASTE_FREE;
		return;
	}
	valid = model_valid(model, index, PASTE_DEVICE);
	CHECK_EQUAL(paste_pool_lend(pool, index), valid);
	if (valid) {
		model->owner[index] = PASTE_NONE;
		model->lent[index] = true;
	}
}

static void capture(struct paste_pool *pool, struct model *model, struct check_random *random)
{
	uint32_t index = pick_index(random);
	bool valid = model_valid(model, index, PASTE_NONE);

	CHECK_EQUAL(paste_pool_capture(pool, index), valid);
	if (valid)
		model->owner[index] = PASTE_QUEUED;
}

static void release_all(struct paste_pool *pool, struct model *model,
			struct check_random *random)
{
	enum paste_owner owner = pick_owner(random);
	uint32_t i;

	if (check_below(random, 100) != 0)
		return;
	paste_pool_release_all(pool, owner);
	for (i = 2; i < BUFFERS; i++)
		if (model->owner[i] == owner)
			model_give_up(model, i);
}

static void compare(struct paste_pool *pool, const struct model *model)
{
	uint32_t count[PASTE_OWNERS] = { 0 };
	uint32_t i, free_list = 0, lent = 0;

	for (i = 2; i < BUFFERS; i++) {
		CHECK_EQUAL(pool->buffers[i].owner, model->owner[i]);
		CHECK_EQUAL(pool->buffers[i].stack_refs, model->lent[i]);
		count[model->owner[i]]++;
		lent += model->lent[i];
	}
	for (i = 0; i < PASTE_OWNERS; i++)
		CHECK_EQUAL(paste_pool_count(pool, i), count[i]);
	CHECK_EQUAL(pool->lent, lent);
	CHECK_EQUAL(pool->refs, 1 + (lent != 0));
	for (i = pool->free_head; i != 0; i = pool->buffers[i].next)
		free_list++;
	CHECK_EQUAL(free_list, count[PASTE_FREE]);
}

static void model_check(struct check_random *random)
{
	static void (*const operations[])(struct paste_pool *, struct model *,
					  struct check_random *) = {
		take, take, move, release, swap, lend_or_put, lend_or_put, capture, release_all,
	};
	struct paste_pool *pool;
	struct model model = { { PASTE_FREE }, { false } };
	uint32_t i;

	fake_reset();
	pool = new_pool(BUFFERS);
	for (i = 0; i < OPERATIONS; i++) {
		operations[check_below(random, sizeof(operations) / sizeof(operations[0]))](
			pool, &model, random);
		if (i % 16 == 0)
			compare(pool, &model);
	}
	for (i = PASTE_DEVICE; i < PASTE_OWNERS; i++)
		paste_pool_release_all(pool, i);
	for (i = 2; i < BUFFERS; i++)
		if (model.lent[i])
			paste_pool_stack_put(pool, i);
	paste_pool_put(pool);
	fake_reset();
}

/* The port goes first: the pool dies with the stack's last reference, not before. */
static void outlives_its_port(void)
{
	struct paste_pool *pool;
	uint32_t index;

	fake_reset();
	pool = new_pool(BUFFERS);
	index = paste_pool_take(pool, PASTE_DEVICE);
	CHECK(paste_pool_lend(pool, index));
	CHECK(!paste_pool_lend(pool, index));
	CHECK(paste_pool_capture(pool, index));
	CHECK(!paste_pool_capture(pool, index));
	paste_pool_release_all(pool, PASTE_QUEUED);
	paste_pool_put(pool);
	fake_run_deferred();
	CHECK(fake_live() != 0);
	paste_pool_stack_put(pool, index);
	fake_run_deferred();
	CHECK_EQUAL(fake_live(), 0);
}

static void reserve(void)
{
	uint64_t bitmap[2] = { 0x8000000000000004u, 0x2 }; /* 2, 63, 65 */
	uint64_t zero = 1, one = 2;
	struct paste_pool *pool;
	uint32_t index;

	fake_reset();
	pool = new_pool(BUFFERS);
	CHECK_EQUAL(paste_pool_reserve(pool, &zero, 64), EINVAL);
	CHECK_EQUAL(paste_pool_reserve(pool, &one, 64), EINVAL);
	CHECK_EQUAL(paste_pool_reserve(pool, bitmap, BUFFERS + 1), EINVAL);
	CHECK_EQUAL(paste_pool_count(pool, PASTE_APP), 0);
	/* Bits past the end do not count. */
	CHECK_EQUAL(paste_pool_reserve(pool, bitmap, 65), 0);
	CHECK_EQUAL(paste_pool_count(pool, PASTE_APP), 2);
	CHECK_EQUAL(paste_pool_reserve(pool, bitmap, BUFFERS), EBUSY);
	while ((index = paste_pool_take(pool, PASTE_DEVICE)) != 0)
		CHECK(index != 2 && index != 63);
	CHECK_EQUAL(paste_pool_count(pool, PASTE_DEVICE), BUFFERS - 4);
	paste_pool_release_all(pool, PASTE_APP);
	paste_pool_release_all(pool, PASTE_DEVICE);
	paste_pool_put(pool);
	fake_reset();
}

int main(int argc, char **argv)
{
	struct check_random random = check_seed(argc, argv);

	model_check(&random);
	outlives_its_port();
	reserve();
	return 0;
}
