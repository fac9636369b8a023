/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * portlinux.h -- what Linux keeps per port.
 */
#ifndef PASTE_LINUX_PORTLINUX_H
#define PASTE_LINUX_PORTLINUX_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "port.h"

struct paste_port_linux {
	wait_queue_head_t wait;
	spinlock_t sockets_lock; /* both lists; taken with bottom halves off */
	struct list_head sockets;
	struct list_head pending;
	struct paste_port *port;
	struct work_struct send;    /* sockets have room again */
	struct delayed_work retry;  /* one was full without anything in flight */
};

static inline struct paste_port_linux *paste_port_linux(const struct paste_port *port)
{
	return port->os;
}

#endif
