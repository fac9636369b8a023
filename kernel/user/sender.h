/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sender.h -- a client's TX ring.
 */
#ifndef PASTE_USER_SENDER_H
#define PASTE_USER_SENDER_H

#include "client.h"

#define SENDER_SLOTS 16u

/* A pst port with eth0, these slots and a few extra buffers. */
void sender_open(struct client *client, uint64_t flags);

/* text into the slot at head, whose buffer is returned; head moves on. */
uint32_t sender_put(struct client *client, uint32_t fd, const char *text, uint16_t flags);
/* The same with length bytes that are in the slot's buffer already. */
void sender_put_as_is(struct client *client, uint32_t fd, uint32_t length, uint16_t flags);
/* head == tail + 1 */
bool sender_all_sent(const struct client *client);
/* Receive through every RX slot, so that each buffer given back leaves the ring. */
void sender_fill_rx(struct client *client, uint32_t fd);

#endif
