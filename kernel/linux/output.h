/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * output.h -- the short way from TCP to a NIC of ours; see output.c.
 */
#ifndef PASTE_LINUX_OUTPUT_H
#define PASTE_LINUX_OUTPUT_H

struct sock;

/* sk's segments take the short way from now on, where there is one. Both under sk's lock, hook
 * under the control lock, too. */
void paste_output_hook(struct sock *sk);
void paste_output_unhook(struct sock *sk);

#endif
