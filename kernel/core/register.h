/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * register.h -- a port is born from a REGISTER request.
 */
#ifndef PASTE_REGISTER_H
#define PASTE_REGISTER_H

#include "port.h"
#include "request.h"

/* Bind desc to a new port; the answer is in request. Every failure leaves nothing behind. */
int paste_register(struct paste_desc *desc, struct paste_request *request);

/* Frees a port, whole or half built, that is in no list. */
void paste_port_dismantle(struct paste_port *port);
void paste_port_detach_nic(struct paste_port *port);

#endif
