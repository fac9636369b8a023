/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check.h -- what every test needs: a check that ends the program, seeded random numbers.
 */
#ifndef PASTE_USER_CHECK_H
#define PASTE_USER_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                           \
	do {                                                                       \
		if (!(condition)) {                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			exit(1);                                                   \
		}                                                                  \
	} while (0)

#define CHECK_EQUAL(left, right)                                                         \
	do {                                                                             \
		long long left_ = (long long)(left), right_ = (long long)(right);        \
		if (left_ != right_) {                                                   \
			fprintf(stderr, "%s:%d: %s is %lld, not %s = %lld\n", __FILE__,  \
				__LINE__, #left, left_, #right, right_);                 \
			exit(1);                                                         \
		}                                                                        \
	} while (0)

struct check_random {
	uint64_t state;
};

/* The seed is the program's first argument, or 1. */
static inline struct check_random check_seed(int argc, char **argv)
{
	struct check_random random = { argc > 1 ? strtoull(argv[1], NULL, 0) : 1 };

	return random;
}

/* splitmix64 (Steele, Lea, Flood 2014) */
static inline uint64_t check_random(struct check_random *random)
{
	uint64_t z = random->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline uint32_t check_below(struct check_random *random, uint32_t bound)
{
	return (uint32_t)(check_random(random) % bound);
}

#endif
