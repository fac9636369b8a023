/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * capture.h -- payload of a registered socket, from TCP's receive queue to its flow.
 */
#ifndef PASTE_LINUX_CAPTURE_H
#define PASTE_LINUX_CAPTURE_H

struct paste_socket;

/*
 * Take everything in order out of the socket; the caller holds its lock and its port is alive.
 * *news: there was something, so the caller wakes the port.
 * False: the port is full; call again when it has room (TCP's window closes meanwhile).
 */
bool paste_capture(struct paste_socket *socket, bool *news);

#endif
