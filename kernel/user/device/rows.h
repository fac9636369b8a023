/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rows.h -- rows of docs/abi.md, each a function that does what the row says and checks.
 *
 * A row runs in a process of its own: it may leave everything open, and its failure is its end.
 */
#ifndef PASTE_DEVICE_ROWS_H
#define PASTE_DEVICE_ROWS_H

struct row {
	const char *name; /* as docs/abi.md names it: `device: NAME` */
	void (*run)(void);
};

/* Each list ends with a row without name. */
extern const struct row rows_request[], rows_register[], rows_extmem[], rows_options[],
	rows_control[], rows_socket[], rows_unregister[], rows_ring[], rows_stream[], rows_send[],
	rows_nic[], rows_host[], rows_poll[], rows_mmap[];

#endif
