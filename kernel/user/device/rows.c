/* SPDX-License-Identifier: BSD-2-Clause */
/* rows.c -- runs every row, or those that are named, and says how each ended */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "rows.h"

#define LIMIT_SECONDS 30

static const struct row *const lists[] = {
	rows_request, rows_register, rows_extmem, rows_options, rows_control, rows_socket,
	rows_unregister, rows_ring, rows_stream, rows_send, rows_nic, rows_host, rows_poll,
	rows_mmap,
};

static void play(const struct row *row, int complaints)
{
	dup2(complaints, STDERR_FILENO);
	close(complaints);
	alarm(LIMIT_SECONDS);
	row->run();
	exit(0);
}

/* Returns whether the row held. */
static bool judge(const struct row *row)
{
	char why[400] = "";
	int pipes[2], status;
	ssize_t length;
	pid_t child;

	CHECK_EQUAL(pipe(pipes), 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		play(row, pipes[1]);
	close(pipes[1]);
	CHECK_EQUAL(waitpid(child, &status, 0), child);
	length = read(pipes[0], why, sizeof(why) - 1);
	close(pipes[0]);
	if (status == 0) {
		printf("row %s ok\n", row->name);
		return true;
	}
	if (length <= 0)
		snprintf(why, sizeof(why), "ended with status %#x", (unsigned int)status);
	why[strcspn(why, "\n")] = 0;
	printf("row %s FAIL %s\n", row->name, why);
	return false;
}

static bool wanted(const struct row *row, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (strcmp(row->name, argv[i]) == 0)
			return true;
	return argc == 1;
}

int main(int argc, char **argv)
{
	bool all = true;
	size_t i;

	setvbuf(stdout, NULL, _IONBF, 0);
	for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		for (const struct row *row = lists[i]; row->name; row++)
			if (wanted(row, argc, argv) && !judge(row))
				all = false;
	return all ? 0 : 1;
}
