/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * port.h -- what a descriptor of /dev/paste is bound to.
 *
 * A descriptor (one open) has at most one port. A pst port has a pool, RX rings, the queue of
 * its flows, and at most one attached NIC. A NIC port (netmap's own) has the NIC's rings. Ports
 * are found by name under the glue's big lock (paste_control is never entered twice at once).
 */
#ifndef PASTE_PORT_H
#define PASTE_PORT_H

#include "flow.h"
#include "kring.h"
#include "layout.h"
#include "paste_abi.h"

enum paste_port_kind { PASTE_PORT_PST, PASTE_PORT_NIC };

struct paste_port {
	struct paste_port *next; /* list of all ports */
	char name[NETMAP_REQ_IFNAMSIZ];
	enum paste_port_kind kind;
	struct paste_layout layout;
	struct paste_pool *pool;
	struct paste_os_region *rings_region; /* KERNEL_RINGS: if and rings; else NULL */
	struct netmap_if *nifp;
	struct paste_kring rx;     /* pst: the one RX ring */
	struct paste_flow_queue flows;
	struct paste_os_nic *nic;  /* attached NIC, or NULL */
	char nic_name[NETMAP_REQ_IFNAMSIZ];
	uint16_t mem_id;
	bool os_ready;             /* paste_os_port_init() was called */
	void *os;                  /* the glue's part: wait queue, sockets */
};

struct paste_desc {
	struct paste_port *port; /* NULL: control only */
	uint64_t flags;          /* nr_flags of REGISTER */
	void *os;                /* the glue's part */
};

/* NIOCCTRL. The caller holds the big lock and may sleep. */
int paste_control(struct paste_desc *desc, uint64_t user_header);
/* The descriptor closes: its port ends. The caller holds the big lock. */
void paste_desc_close(struct paste_desc *desc);

/*
 * NIOCRXSYNC. ENXIO: port is NULL; EINVAL: the ring or a returned slot was nonsense. The caller
 * serialises syncs of one port and keeps control requests out meanwhile.
 */
int paste_port_rxsync(struct paste_port *port);
/* NIOCTXSYNC, likewise. */
int paste_port_txsync(struct paste_port *port);
/* cur != tail on an RX ring: poll reports POLLIN. */
bool paste_port_readable(const struct paste_port *port);

/* Glue hooks: a port is born or dies. */
int paste_os_port_init(struct paste_port *port);
void paste_os_port_exit(struct paste_port *port);

#endif
