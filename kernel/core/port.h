/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * port.h -- what a descriptor of /dev/paste is bound to.
 *
 * A descriptor (one open) has at most one port. A pst port has a pool, an RX and a TX ring, its
 * flows with what they received and have to send, and at most one attached NIC. A NIC port
 * (netmap's own) has one NIC from birth to death: all frames that it receives go to the RX ring,
 * none to the stack. With host rings the stack's other end is there too: what it sends comes out
 * of host RX, host TX injects. Ports are found by name under the glue's big lock (paste_control
 * is never entered twice at once).
 */
#ifndef PASTE_PORT_H
#define PASTE_PORT_H

#include "flow.h"
#include "kring.h"
#include "layout.h"
#include "transmit.h"
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
	struct paste_kring rx, tx, host_rx, host_tx; /* num_slots 0: there is none */
	struct paste_flow_queue flows; /* on their way to rx */
	struct paste_flow_queue host_flows; /* on their way to host_rx */
	struct paste_transmit transmit; /* pst port: from tx to sockets */
	struct paste_flow frames, host_frames; /* NIC port: the only flows */
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
/* The same of a TX ring, for POLLOUT. */
bool paste_port_writable(const struct paste_port *port);

#define PASTE_POLL_IN  1u
#define PASTE_POLL_OUT 2u
/*
 * poll: the syncs that netmap(4) says for the wanted events and the descriptor's NR_NO_TX_POLL
 * and NR_DO_RX_POLL, then what of wanted is ready. Locks and errors as with the syncs.
 */
int paste_desc_poll(const struct paste_desc *desc, unsigned int wanted, unsigned int *ready);

/*
 * For the NIC of a NIC port, any context. It received a frame into index (DEVICE), from the
 * pool's frame_offset. False: no room, index stays the NIC's. It does not wake the port.
 */
bool paste_port_receive(struct paste_port *port, uint32_t index, uint16_t length);
/*
 * The stack sends on that NIC: take a buffer, copy the frame to the pool's frame_offset, push
 * it and wake the port. take gives 0: no room, or the port has no host rings.
 */
uint32_t paste_port_host_take(struct paste_port *port);
void paste_port_host_push(struct paste_port *port, uint32_t index, uint16_t length);

/*
 * Pst ports, under the socket's lock: a registered socket's flow joins, and leaves; all that it
 * still has is dropped then.
 */
void paste_port_join(struct paste_port *port, struct paste_flow *flow, uint32_t fd);
void paste_port_leave(struct paste_port *port, struct paste_flow *flow);
/* Send what flows have. May sleep; many may run at once. */
void paste_port_send(struct paste_port *port);

/* Glue hooks: a port is born or dies. */
int paste_os_port_init(struct paste_port *port);
void paste_os_port_exit(struct paste_port *port);

#endif
