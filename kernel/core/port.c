/* SPDX-License-Identifier: BSD-2-Clause */
/* port.c -- syncs of a port, what a NIC brings, and the end */
#include "port.h"
#include "portlist.h"
#include "register.h"

/* One RX ring: slots back from the user, what waits into slots. */
static int sync_rx(struct paste_port *port, struct paste_kring *kring,
		   struct paste_flow_queue *flows)
{
	uint32_t rejected;
	int error = paste_kring_rx_begin(kring, &rejected);

	if (error)
		return error;
	paste_flow_drain(flows, kring);
	if (port->kind == PASTE_PORT_PST) {
		/* There is room now for what waited in sockets. */
		paste_os_socket_drain_pending(port);
		paste_flow_drain(flows, kring);
	}
	paste_kring_rx_commit(kring);
	return rejected != 0 ? EINVAL : 0;
}

int paste_port_rxsync(struct paste_port *port)
{
	int error, host_error = 0;

	if (!port)
		return ENXIO;
	if (port->nic && port->kind == PASTE_PORT_PST)
		paste_os_nic_receive(port->nic);
	error = sync_rx(port, &port->rx, &port->flows);
	if (port->host_rx.num_slots != 0)
		host_error = sync_rx(port, &port->host_rx, &port->host_flows);
	if (port->nic)
		paste_os_nic_refill(port->nic);
	return error ? error : host_error;
}

static int send_frame(void *context, uint32_t index, uint32_t offset, uint16_t length)
{
	const struct paste_port *port = context;

	return paste_os_nic_send(port->nic, index, offset, length);
}

static int inject_frame(void *context, uint32_t index, uint32_t offset, uint16_t length)
{
	const struct paste_port *port = context;
	int error = paste_os_nic_inject(port->nic,
					(char *)paste_pool_address(port->pool, index) + offset,
					length);

	/* It was copied. */
	if (!error)
		paste_pool_move(port->pool, index, PASTE_DEVICE, PASTE_SLOT);
	return error;
}

void paste_port_send(struct paste_port *port)
{
	uint32_t steps = 0;
	void *socket;

	paste_os_locks_begin();
	while ((socket = paste_transmit_pop(&port->transmit, paste_os_socket_hold))) {
		if (!paste_os_socket_send_now(port, socket)) {
			paste_os_locks_end();
			paste_os_socket_send(port, socket);
			paste_os_locks_begin();
		}
		paste_os_locks_step(&steps);
	}
	paste_os_locks_end();
}

/* A sent entry makes room for a slot that had to wait: again, as long as it helps. */
static int sync_sockets(struct paste_port *port)
{
	uint32_t accepted;
	int error, result = 0;

	if (port->nic)
		paste_os_nic_cork(port->nic);
	do {
		error = paste_transmit_accept(&port->transmit, &port->tx, &accepted);
		if (error)
			result = error;
		paste_port_send(port);
	} while (accepted != 0 && port->tx.hwcur != PASTE_READ_ONCE(port->tx.ring->head));
	if (port->nic)
		paste_os_nic_uncork(port->nic);
	paste_kring_tx_commit(&port->tx);
	return result;
}

int paste_port_txsync(struct paste_port *port)
{
	int error, host_error = 0;

	if (!port)
		return ENXIO;
	if (port->kind == PASTE_PORT_PST)
		return sync_sockets(port);
	error = paste_kring_tx_sync(&port->tx, send_frame, port);
	paste_os_nic_send_end(port->nic);
	paste_kring_tx_commit(&port->tx);
	if (port->host_tx.num_slots != 0) {
		host_error = paste_kring_tx_sync(&port->host_tx, inject_frame, port);
		paste_kring_tx_commit(&port->host_tx);
	}
	return error ? error : host_error;
}

static bool is_ready(const struct paste_kring *kring)
{
	return kring->num_slots != 0 && paste_kring_readable(kring);
}

bool paste_port_readable(const struct paste_port *port)
{
	return is_ready(&port->rx) || is_ready(&port->host_rx);
}

bool paste_port_writable(const struct paste_port *port)
{
	return is_ready(&port->tx) || is_ready(&port->host_tx);
}

int paste_desc_poll(const struct paste_desc *desc, unsigned int wanted, unsigned int *ready)
{
	struct paste_port *port = desc->port;
	int error = 0, rx_error = 0;

	*ready = 0;
	if (!port)
		return ENXIO;
	if ((wanted & PASTE_POLL_OUT) != 0 || (desc->flags & NR_NO_TX_POLL) == 0)
		error = paste_port_txsync(port);
	if ((wanted & PASTE_POLL_IN) != 0 || (desc->flags & NR_DO_RX_POLL) != 0)
		rx_error = paste_port_rxsync(port);
	if (paste_port_readable(port))
		*ready |= wanted & PASTE_POLL_IN;
	if (paste_port_writable(port))
		*ready |= wanted & PASTE_POLL_OUT;
	return error ? error : rx_error;
}

void paste_port_join(struct paste_port *port, struct paste_flow *flow, uint32_t fd)
{
	memset(flow, 0, sizeof(*flow));
	flow->fd = fd;
	paste_transmit_join(&port->transmit, flow);
}

void paste_port_leave(struct paste_port *port, struct paste_flow *flow)
{
	paste_transmit_leave(&port->transmit, flow);
	paste_flow_drop(&port->flows, flow);
}

bool paste_port_receive(struct paste_port *port, uint32_t index, uint16_t length)
{
	if (!paste_flow_has_room(&port->flows) ||
	    !paste_pool_move(port->pool, index, PASTE_DEVICE, PASTE_QUEUED))
		return false;
	paste_flow_push(&port->flows, &port->frames, index, (uint16_t)port->pool->frame_offset,
			length);
	return true;
}

uint32_t paste_port_host_take(struct paste_port *port)
{
	if (port->host_rx.num_slots == 0 || !paste_flow_has_room(&port->host_flows))
		return 0;
	return paste_pool_take(port->pool, PASTE_QUEUED);
}

void paste_port_host_push(struct paste_port *port, uint32_t index, uint16_t length)
{
	paste_flow_push(&port->host_flows, &port->host_frames, index,
			(uint16_t)port->pool->frame_offset, length);
}

void paste_port_detach_nic(struct paste_port *port)
{
	struct paste_os_nic *nic = port->nic;

	if (!nic)
		return;
	port->nic = NULL;
	memset(port->nic_name, 0, sizeof(port->nic_name));
	paste_os_nic_detach(port, nic);
}

void paste_port_dismantle(struct paste_port *port)
{
	/* Nothing may arrive while the rest is taken apart. */
	paste_port_detach_nic(port);
	if (port->os_ready) {
		paste_os_socket_unregister_all(port);
		paste_os_port_exit(port);
	}
	paste_transmit_exit(&port->transmit);
	paste_kring_exit(&port->rx);
	paste_kring_exit(&port->tx);
	paste_kring_exit(&port->host_rx);
	paste_kring_exit(&port->host_tx);
	if (port->pool) {
		paste_pool_release_all(port->pool, PASTE_QUEUED);
		paste_pool_release_all(port->pool, PASTE_SLOT);
		paste_pool_release_all(port->pool, PASTE_APP);
		/* It dies when the network stack has given everything back. */
		paste_pool_put(port->pool);
	}
	if (port->rings_region)
		paste_os_region_free(port->rings_region);
	paste_os_free(port);
}

void paste_desc_close(struct paste_desc *desc)
{
	struct paste_port *port = desc->port;

	if (!port)
		return;
	desc->port = NULL;
	paste_port_unlist(port);
	paste_port_dismantle(port);
}
