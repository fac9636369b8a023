/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * paste_os_types.h -- types of the core when it is built as a program.
 */
#ifndef PASTE_OS_TYPES_H
#define PASTE_OS_TYPES_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct paste_os_lock {
	pthread_mutex_t mutex;
};

#define PASTE_READ_ONCE(x)         __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define PASTE_WRITE_ONCE(x, v)     __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)
#define PASTE_LOAD_ACQUIRE(p)      __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define PASTE_STORE_RELEASE(p, v)  __atomic_store_n((p), (v), __ATOMIC_RELEASE)

#endif
