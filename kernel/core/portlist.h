/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * portlist.h -- all ports, by name; and what names mean.
 *
 * A pst port is called pst<SSS>:<PPP>; a NIC is tied to it as pst<SSS>:<NIC>. The port of a
 * NIC is called like the NIC; netmap: may stand before it in requests.
 */
#ifndef PASTE_PORTLIST_H
#define PASTE_PORTLIST_H

#include "port.h"

/* PPP of a pst name, NULL if it is none. */
const char *paste_name_pst(const char *name);
/* The NIC of a NIC port's name, NULL if the name is another kind's. */
const char *paste_name_nic(const char *name);
/* Same SSS. */
bool paste_name_same_pst(const char *name, const char *other);
bool paste_name_equal(const char *name, const char *other);
/* to has NETMAP_REQ_IFNAMSIZ bytes and so has from, or less. */
void paste_name_copy(char *to, const char *from);

/* All under the big lock. */
struct paste_port *paste_port_find(const char *name); /* as in requests */
/* The port that shares its SSS with name: the descriptor's own, else the only one. Or NULL. */
struct paste_port *paste_port_find_pst(const struct paste_desc *desc, const char *name);
void paste_port_list(struct paste_port *port);
void paste_port_unlist(struct paste_port *port);
/* Never 0 (any) or 1 (netmap's global region), never that of a living port; 0: none left. */
uint16_t paste_port_new_mem_id(void);

#endif
