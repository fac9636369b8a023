/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * litmus.c -- litmus tests of persistent memory, carried out by a guest with two CPUs.
 *
 * usage: litmus DEVICE threads|swapped|migrates ID PROGRAM...
 *        litmus DEVICE race ROUNDS
 *
 * A program is operations with `;` between, as in the crash model's table (vm/crash/src/litmus.rs);
 * `1:` before one is the second CPU. Program n has page ID + n of the device for itself, and the
 * marker SNAP with the id ID + n stands before its first operation and behind each.
 *
 * threads: a thread on each CPU carries out what is that CPU's, in the program's order. swapped:
 * the CPUs play each other's part. migrates: one thread, which goes to the CPU whose turn it is.
 * No operation of this program but those of the litmus tests is locked.
 *
 * race: both CPUs make words of their own durable, at the same time, in lines that they share.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pmem.h"

enum { PAGE = 4096, BYTES = 2 << 20, MOST = 16, CPUS = 2, WAIT = 8 };

enum verb { STORE, NT, WIDE, CLWB, OPT, CLFLUSH, SFENCE, MFENCE, LOCK, VERBS };

static const char *const verbs[VERBS] = { "",	     "nt",     "wide",	 "clwb", "opt",
					  "clflush", "sfence", "mfence", "lock" };

struct operation {
	enum verb verb;
	int cpu;
	size_t at;
	uint64_t value;
};

static void complain(const char *what, const char *why)
{
	fprintf(stderr, "litmus: %s: %s\n", what, why);
	exit(1);
}

static void move_to(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		complain("sched_setaffinity", "needs two CPUs");
}

static size_t place_of(const char *name)
{
	static const struct { const char *name; size_t at; } places[] = {
		{ "x", 0 }, { "x2", 8 }, { "y", LINE }, { "z", 2 * LINE },
	};
	for (size_t n = 0; n < sizeof(places) / sizeof(*places); n++) {
		if (strcmp(places[n].name, name) == 0)
			return places[n].at;
	}
	complain(name, "is no location");
	return 0;
}

static enum verb verb_of(const char *name)
{
	for (int verb = NT; verb < VERBS; verb++) {
		if (strcmp(verbs[verb], name) == 0)
			return verb;
	}
	complain(name, "is no operation");
	return STORE;
}

/* "x=1", "nt x=1", "clwb x", "sfence", each with or without "1:" before it. */
static struct operation parse(char *text)
{
	struct operation operation = { .verb = STORE };
	text += strspn(text, " ");
	if (strncmp(text, "1:", 2) == 0) {
		operation.cpu = 1;
		text += 2;
	}
	char *what = strchr(text, ' '), *value = strchr(text, '=');
	if (what != NULL)
		*what++ = '\0';
	if (value != NULL)
		*value++ = '\0';
	if (what == NULL && value != NULL)
		what = text;
	else
		operation.verb = verb_of(text);
	if (what != NULL)
		operation.at = place_of(what);
	if (value != NULL)
		operation.value = strtoull(value, NULL, 10);
	return operation;
}

static void act(const struct operation *operation, char *page)
{
	volatile uint64_t *at = (volatile uint64_t *)(page + operation->at);
	uint64_t value = operation->value, both[2] = { value, value };
	switch (operation->verb) {
	case STORE:
		*at = value;
		break;
	case NT:
		store_past_caches(at, value);
		break;
	case WIDE:
		__asm__ volatile("movdqu (%0), %%xmm0; movdqu %%xmm0, (%1)"
				 :: "r"(both), "r"(at) : "xmm0", "memory");
		break;
	case CLWB:
		clwb(at);
		break;
	case OPT:
		clflushopt(at);
		break;
	case CLFLUSH:
		clflush(at);
		break;
	case SFENCE:
		fence();
		break;
	case MFENCE:
		__asm__ volatile("mfence" ::: "memory");
		break;
	case LOCK:
		__asm__ volatile("lock addl $0, %0" : "+m"(both[0]) :: "memory");
		break;
	case VERBS:
		break;
	}
}

/* What the second CPU is to do, until it has done it. */
static struct {
	const struct operation *volatile operation;
	char *volatile page;
	volatile int is_over;
	int cpu;
} other;

static void *other_cpu(void *unused)
{
	move_to(other.cpu);
	while (!other.is_over) {
		if (other.operation != NULL) {
			act(other.operation, other.page);
			other.operation = NULL;
		}
		sched_yield();
	}
	return unused;
}

static void run(char *program, char *page, uint64_t id, int migrates)
{
	struct operation operations[MOST];
	int count = 0;
	for (char *rest = program, *text; (text = strsep(&rest, ";")) != NULL;) {
		if (count == MOST)
			complain(program, "is too long");
		operations[count++] = parse(text);
	}
	mark(SNAP, id, 0, 0);
	for (int n = 0; n < count; n++) {
		if (migrates)
			move_to(operations[n].cpu);
		if (migrates || operations[n].cpu == 0) {
			act(&operations[n], page);
		} else {
			other.page = page;
			other.operation = &operations[n];
			while (other.operation != NULL)
				sched_yield();
		}
		mark(SNAP, id, 0, 0);
	}
}

struct racer {
	pthread_t thread;
	char *page;
	int cpu, rounds;
};

/* Until both are there, so that neither is through before the other begins. */
static void meet(int cpu, int line)
{
	static volatile int is_here[CPUS];
	is_here[cpu] = line + 1;
	while (is_here[!cpu] <= line)
		sched_yield();
}

/* Its word of the first line through the caches; of the second one, the first CPU past them. */
static void *race(void *given)
{
	const struct racer *racer = given;
	move_to(racer->cpu);
	for (int line = 0; line < 2; line++) {
		meet(racer->cpu, line);
		volatile uint64_t *word = (volatile uint64_t *)(racer->page + line * LINE);
		word += racer->cpu;
		for (int round = 1; round <= racer->rounds; round++) {
			if (line == 1 && racer->cpu == 0) {
				store_past_caches(word, round);
			} else {
				*word = round;
				clwb(word);
			}
			fence();
			/* Time for the other CPU to undo it. */
			for (int wait = 0; wait < WAIT; wait++)
				__asm__ volatile("pause");
			mark(ASSERT_PERSISTED, word, sizeof(*word), line);
		}
	}
	return NULL;
}

static void race_both(char *page, int rounds)
{
	struct racer racers[CPUS];
	for (int cpu = 0; cpu < CPUS; cpu++) {
		racers[cpu] = (struct racer){ .page = page, .cpu = cpu, .rounds = rounds };
		pthread_create(&racers[cpu].thread, NULL, race, &racers[cpu]);
	}
	for (int cpu = 0; cpu < CPUS; cpu++)
		pthread_join(racers[cpu].thread, NULL);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return fprintf(stderr, "usage: litmus DEVICE HOW ID PROGRAM...\n"), 2;
	int device = open(argv[1], O_RDWR);
	char *page = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
	if (device < 0 || page == MAP_FAILED)
		return perror(argv[1]), 1;
	const char *how = argv[2];
	uint64_t id = strtoull(argv[3], NULL, 10);
	/* A flush of what nobody has touched is passed by. */
	for (size_t at = 0; at < BYTES; at += PAGE)
		(void)*(volatile char *)(page + at);
	if (strcmp(how, "race") == 0)
		return race_both(page, (int)id), 0;
	int swapped = strcmp(how, "swapped") == 0, migrates = strcmp(how, "migrates") == 0;
	pthread_t thread;
	move_to(swapped);
	other.cpu = !swapped;
	if (!migrates && pthread_create(&thread, NULL, other_cpu, NULL) != 0)
		complain("pthread_create", "no second thread");
	for (int n = 4; n < argc; n++, id++)
		run(argv[n], page + id * PAGE, id, migrates);
	other.is_over = 1;
	if (!migrates)
		pthread_join(thread, NULL);
	return 0;
}
