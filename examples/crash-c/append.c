/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * append.c -- a log on persistent memory that loses records, and its checker.
 *
 * append DEVICE: appends records. append --check IMAGE: 0 if the image is a good log, 1 if not.
 * Between the text and the number that says that it is there, a fence is missing; -DFENCE has it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { RECORDS = 8 };
struct record { char text[128]; volatile unsigned long number; char rest[56]; };

static void flush(const volatile void *line) { __asm__ volatile("clwb (%0)" :: "r"(line)); }
static void fence(void) { __asm__ volatile("sfence" ::: "memory"); }

static void append(struct record *record, unsigned long number)
{
	memset(record->text, 'a' + number, sizeof(record->text));
	flush(record->text);
	flush(record->text + 64);
#ifdef FENCE
	fence();
#endif
	record->number = number;
	flush(&record->number);
	fence();
}

static int check(const struct record *log)
{
	for (unsigned long number = 1; log->number == number; number++, log++)
		for (size_t at = 0; at < sizeof(log->text); at++)
			if (log->text[at] != (char)('a' + number))
				return printf("record %lu is there without its text\n", number), 1;
	return 0;
}

int main(int argc, char **argv)
{
	int file = argc > 1 ? open(argv[argc - 1], O_RDWR) : -1;
	struct record *log = mmap(NULL, 1 << 21, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (log == MAP_FAILED)
		return perror(argc > 1 ? argv[argc - 1] : "append"), 2;
	if (argc == 3 && strcmp(argv[1], "--check") == 0)
		return check(log);
	for (unsigned long number = 1; number <= RECORDS; number++)
		append(log + number - 1, number);
	return 0;
}
