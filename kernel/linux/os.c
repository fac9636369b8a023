// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * os.c -- the simple part of paste_os.h: memory, locks, user copies, the log.
 */
#include <linux/bottom_half.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "paste_os.h"

void *paste_os_alloc(size_t bytes)
{
	/* Many sizes are the user's choice: an error says enough. */
	return kvzalloc(bytes, GFP_KERNEL | __GFP_NOWARN);
}

void paste_os_free(void *memory)
{
	kvfree(memory);
}

void paste_os_lock_init(struct paste_os_lock *lock)
{
	spin_lock_init(&lock->lock);
}

void paste_os_locks_begin(void)
{
	local_bh_disable();
}

void paste_os_locks_end(void)
{
	local_bh_enable();
}

int paste_os_copy_in(void *to, uint64_t user, size_t bytes)
{
	if (user != (unsigned long)user)
		return EFAULT;
	return copy_from_user(to, u64_to_user_ptr(user), bytes) ? EFAULT : 0;
}

int paste_os_copy_out(uint64_t user, const void *from, size_t bytes)
{
	if (user != (unsigned long)user)
		return EFAULT;
	return copy_to_user(u64_to_user_ptr(user), from, bytes) ? EFAULT : 0;
}

void paste_os_log(const char *format, ...)
{
	struct va_format line = { .fmt = format };
	va_list arguments;

	va_start(arguments, format);
	line.va = &arguments;
	printk(KERN_INFO "paste: %pV\n", &line);
	va_end(arguments);
}
