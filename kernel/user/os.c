/* SPDX-License-Identifier: BSD-2-Clause */
/* os.c -- allocation, locks, user space and regions of the core as a program */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "check.h"
#include "fake.h"

#define PAGE ((size_t)PASTE_PAGE_SIZE)

struct paste_os_region {
	void *address;
	bool pinned; /* the user's memory */
};

struct fake_pool {
	struct fake_pool *next;
	struct paste_pool *pool;
};

static char *arena;
static size_t arena_used;
static unsigned int fail_countdown;
static bool failed;
static unsigned int live;
static unsigned int wakes;
static struct fake_pool *dying;
static pthread_mutex_t dying_lock = PTHREAD_MUTEX_INITIALIZER;

void fake_fail_at(unsigned int n)
{
	fail_countdown = n;
	failed = false;
}

bool fake_failed(void)
{
	return failed;
}

bool fake_may_fail(void)
{
	if (fail_countdown == 0 || --fail_countdown != 0)
		return false;
	failed = true;
	return true;
}

unsigned int fake_live(void)
{
	return live;
}

unsigned int fake_wakes(void)
{
	return wakes;
}

void fake_reset(void)
{
	fake_run_deferred();
	CHECK(live == 0);
	if (!arena) {
		arena = mmap(NULL, FAKE_ARENA, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		CHECK(arena != MAP_FAILED);
	}
	memset(arena, 0, arena_used);
	arena_used = 0;
	wakes = 0;
	fake_fail_at(0);
	fake_nic_reset();
	fake_socket_reset();
}

void *fake_user(size_t bytes)
{
	void *user = arena + arena_used;

	arena_used += (bytes + PAGE - 1) / PAGE * PAGE;
	CHECK(arena_used <= FAKE_ARENA);
	return user;
}

uint64_t fake_address(const void *user)
{
	return (uint64_t)(uintptr_t)user;
}

/* The user's bytes at this address, NULL if they are not all the user's. */
static void *user_range(uint64_t user, uint64_t bytes)
{
	uint64_t start = fake_address(arena);

	if (user < start || user - start > arena_used || bytes > arena_used - (user - start))
		return NULL;
	return arena + (user - start);
}

void *paste_os_alloc(size_t bytes)
{
	void *memory;

	if (fake_may_fail())
		return NULL;
	memory = calloc(1, bytes);
	if (memory)
		live++;
	return memory;
}

void paste_os_free(void *memory)
{
	if (!memory)
		return;
	live--;
	free(memory);
}

void paste_os_lock_init(struct paste_os_lock *lock)
{
	CHECK(pthread_mutex_init(&lock->mutex, NULL) == 0);
}

void paste_os_lock(struct paste_os_lock *lock)
{
	CHECK(pthread_mutex_lock(&lock->mutex) == 0);
}

void paste_os_unlock(struct paste_os_lock *lock)
{
	CHECK(pthread_mutex_unlock(&lock->mutex) == 0);
}

void paste_os_locks_begin(void)
{
}

void paste_os_locks_end(void)
{
}

int paste_os_copy_in(void *to, uint64_t user, size_t bytes)
{
	const void *from = user_range(user, bytes);

	if (!from || fake_may_fail())
		return EFAULT;
	memcpy(to, from, bytes);
	return 0;
}

int paste_os_copy_out(uint64_t user, const void *from, size_t bytes)
{
	void *to = user_range(user, bytes);

	if (!to || fake_may_fail())
		return EFAULT;
	memcpy(to, from, bytes);
	return 0;
}

void paste_os_log(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

static int new_region(void *address, bool pinned, struct paste_os_region **region)
{
	struct paste_os_region *new = calloc(1, sizeof(*new));

	CHECK(new != NULL);
	new->address = address;
	new->pinned = pinned;
	*region = new;
	live++;
	return 0;
}

int paste_os_region_pin(uint64_t user, uint64_t bytes, struct paste_os_region **region)
{
	void *address = user_range(user, bytes);

	CHECK(user % PAGE == 0 && bytes % PAGE == 0);
	if (!address)
		return EFAULT;
	if (fake_may_fail())
		return ENOMEM;
	return new_region(address, true, region);
}

int paste_os_region_alloc(uint64_t bytes, struct paste_os_region **region)
{
	void *address;

	CHECK(bytes % PAGE == 0);
	if (fake_may_fail() || bytes > (1u << 30))
		return ENOMEM;
	address = aligned_alloc(PAGE, (size_t)bytes);
	CHECK(address != NULL);
	memset(address, 0, (size_t)bytes);
	return new_region(address, false, region);
}

void *paste_os_region_address(const struct paste_os_region *region)
{
	return region->address;
}

void paste_os_region_free(struct paste_os_region *region)
{
	if (!region->pinned)
		free(region->address);
	free(region);
	live--;
}

int paste_os_pool_init(struct paste_pool *pool)
{
	struct fake_pool *fake = paste_os_alloc(sizeof(*fake));

	if (!fake)
		return ENOMEM;
	fake->pool = pool;
	pool->os = fake;
	return 0;
}

void paste_os_pool_exit(struct paste_pool *pool)
{
	paste_os_free(pool->os);
}

void paste_os_pool_defer_destroy(struct paste_pool *pool)
{
	struct fake_pool *fake = pool->os;

	pthread_mutex_lock(&dying_lock);
	fake->next = dying;
	dying = fake;
	pthread_mutex_unlock(&dying_lock);
}

void fake_run_deferred(void)
{
	struct fake_pool *fake;

	while (dying) {
		fake = dying;
		dying = fake->next;
		/* A pool dies whole: nobody but the free list holds a buffer. */
		CHECK(fake->pool->lent == 0);
		CHECK(fake->pool->count[PASTE_FREE] == fake->pool->total - 2);
		paste_pool_destroy(fake->pool);
	}
}

int paste_os_port_init(struct paste_port *port)
{
	port->os = paste_os_alloc(1);
	return port->os ? 0 : ENOMEM;
}

void paste_os_port_exit(struct paste_port *port)
{
	paste_os_free(port->os);
	port->os = NULL;
}

void paste_os_port_wake(struct paste_port *port)
{
	CHECK(port->os != NULL);
	wakes++;
}
