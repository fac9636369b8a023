/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pmem.h -- instructions of persistent memory, and the markers of docs/crash-model.md.
 */
#ifndef PMEM_H
#define PMEM_H

#include <stdint.h>

enum { LINE = 64 };
enum { ARM = 1, SNAP = 2, CUT = 3, ASSERT_PERSISTED = 4, CHECKPOINT = 5, DISARM = 6 };

#define mark(op, a, b, c)                                                                          \
	__asm__ volatile(".byte 0x0f, 0x1f, 0x80, 0x50, 0x53, 0x54, %c0"                           \
			 :: "i"(op), "D"((uint64_t)(a)), "S"((uint64_t)(b)), "d"((uint64_t)(c))    \
			 : "memory")

static inline void clwb(const volatile void *line)
{
	__asm__ volatile("clwb (%0)" :: "r"(line) : "memory");
}

static inline void clflush(const volatile void *line)
{
	__asm__ volatile("clflush (%0)" :: "r"(line) : "memory");
}

static inline void clflushopt(const volatile void *line)
{
	__asm__ volatile("clflushopt (%0)" :: "r"(line) : "memory");
}

static inline void fence(void)
{
	__asm__ volatile("sfence" ::: "memory");
}

static inline void store_past_caches(volatile void *to, uint64_t word)
{
	__asm__ volatile("movnti %1, (%0)" :: "r"(to), "r"(word) : "memory");
}

#endif
