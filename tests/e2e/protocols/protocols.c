/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * protocols.c -- a log on persistent memory, written right in three ways and wrong in seven.
 *
 * usage: protocols DEVICE NAME|cut
 *
 * A record is two lines of text and, on a third line, its number, which says that the text is
 * there. Markers (docs/crash-model.md) tell the observer when to watch, what should be durable
 * and which records are acknowledged. Whoever watches knows which of the ways are wrong.
 * With `cut` power is lost before the first record has its number.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "pmem.h"

enum { RECORDS = 6, TEXT = 128 };

struct record {
	char text[TEXT];
	volatile uint64_t number;
	char rest[LINE - sizeof(uint64_t)];
};

static void write_text(struct record *record, int number)
{
	memset(record->text, 'a' + number, TEXT);
}

static void write_text_past_caches(struct record *record, int number)
{
	for (int at = 0; at < TEXT; at += 8)
		store_past_caches(record->text + at,
				  0x0101010101010101 * (uint64_t)('a' + number));
}

static void flush_text(const struct record *record)
{
	clwb(record->text);
	clwb(record->text + LINE);
}

static void publish(struct record *record, int number)
{
	record->number = number;
	clwb(&record->number);
	fence();
}

static void good(struct record *record, int number)
{
	write_text(record, number);
	flush_text(record);
	fence();
	publish(record, number);
}

static void good_past_caches(struct record *record, int number)
{
	write_text_past_caches(record, number);
	fence();
	publish(record, number);
}

static void good_clflush(struct record *record, int number)
{
	write_text(record, number);
	clflush(record->text);
	clflush(record->text + LINE);
	record->number = number;
	clflush(&record->number);
}

static void no_flush(struct record *record, int number)
{
	write_text(record, number);
	fence();
	publish(record, number);
}

static void half_a_flush(struct record *record, int number)
{
	write_text(record, number);
	clwb(record->text);
	fence();
	publish(record, number);
}

static void flush_before_store(struct record *record, int number)
{
	flush_text(record);
	write_text(record, number);
	fence();
	publish(record, number);
}

static void one_fence(struct record *record, int number)
{
	write_text(record, number);
	flush_text(record);
	publish(record, number);
}

static void past_caches_no_fence(struct record *record, int number)
{
	write_text_past_caches(record, number);
	publish(record, number);
}

static void flush_too_late(struct record *record, int number)
{
	write_text(record, number);
	publish(record, number);
	flush_text(record);
	fence();
}

/* Acknowledges a record whose number is still on its way; main does so again. */
static void early_acknowledgement(struct record *record, int number)
{
	write_text(record, number);
	flush_text(record);
	fence();
	record->number = number;
	mark(CHECKPOINT, number, 0, 0);
	clwb(&record->number);
	fence();
}

static const struct way {
	const char *name;
	void (*append)(struct record *, int);
} ways[] = {
	{ "good", good },
	{ "good_past_caches", good_past_caches },
	{ "good_clflush", good_clflush },
	{ "no_flush", no_flush },
	{ "half_a_flush", half_a_flush },
	{ "flush_before_store", flush_before_store },
	{ "one_fence", one_fence },
	{ "past_caches_no_fence", past_caches_no_fence },
	{ "flush_too_late", flush_too_late },
	{ "early_acknowledgement", early_acknowledgement },
};

static void run(const struct way *way, struct record *log)
{
	mark(ARM, 0, 0, 0);
	for (int number = 1; number <= RECORDS; number++, log++) {
		way->append(log, number);
		mark(ASSERT_PERSISTED, log, TEXT + sizeof(log->number), number);
		mark(CHECKPOINT, number, 0, 0);
	}
	mark(DISARM, 0, 0, 0);
}

/* CHECKPOINT stands between the flushes and the fence, CUT right behind the fence. */
static void lose_power(struct record *record)
{
	mark(ARM, 0, 0, 0);
	write_text(record, 1);
	flush_text(record);
	mark(CHECKPOINT, 1, 0, 0);
	fence();
	mark(CUT, 2, 0, 0);
}

int main(int argc, char **argv)
{
	const size_t bytes = 2 << 20;
	if (argc != 3)
		return fprintf(stderr, "usage: protocols DEVICE NAME|cut\n"), 2;
	int device = open(argv[1], O_RDWR);
	void *log = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
	if (device < 0 || log == MAP_FAILED)
		return perror(argv[1]), 1;
	memset(log, 0, RECORDS * sizeof(struct record));
	if (strcmp(argv[2], "cut") == 0)
		return lose_power(log), 0;
	for (size_t way = 0; way < sizeof(ways) / sizeof(*ways); way++) {
		if (strcmp(ways[way].name, argv[2]) == 0) {
			run(&ways[way], log);
			return 0;
		}
	}
	return fprintf(stderr, "protocols: %s is none\n", argv[2]), 2;
}
