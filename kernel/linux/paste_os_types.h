/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * paste_os_types.h -- the types and primitives of paste_os.h, Linux kernel.
 */
#ifndef PASTE_OS_TYPES_H
#define PASTE_OS_TYPES_H

#include <asm/barrier.h>
#include <linux/bottom_half.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/spinlock.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/types.h>

struct paste_os_lock {
	spinlock_t lock; /* taken with bottom halves off: packets are freed in softirqs */
	bool enable;     /* they were on when it was taken */
};

/* Most often bottom halves are off already, and need not be counted off and on once more. */
static __always_inline void paste_os_lock(struct paste_os_lock *lock)
{
	bool enable = !in_softirq();

	if (enable)
		local_bh_disable();
	spin_lock(&lock->lock);
	lock->enable = enable;
}

static __always_inline void paste_os_unlock(struct paste_os_lock *lock)
{
	bool enable = lock->enable;

	spin_unlock(&lock->lock);
	if (enable)
		local_bh_enable();
}

#define PASTE_READ_ONCE(x)        READ_ONCE(x)
#define PASTE_WRITE_ONCE(x, v)    WRITE_ONCE(x, v)
#define PASTE_LOAD_ACQUIRE(p)     smp_load_acquire(p)
#define PASTE_STORE_RELEASE(p, v) smp_store_release(p, v)

#endif
