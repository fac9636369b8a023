/* SPDX-License-Identifier: BSD-2-Clause */
/* port.c -- syncs of a port, and its end */
#include "port.h"
#include "portlist.h"
#include "register.h"

int paste_port_rxsync(struct paste_port *port)
{
	uint32_t rejected;
	int error;

	if (!port)
		return ENXIO;
	error = paste_kring_rx_begin(&port->rx, &rejected);
	if (error)
		return error;
	/* Released slots first make room, then what waited in sockets can follow. */
	paste_flow_drain(&port->flows, &port->rx);
	paste_os_socket_drain_pending(port);
	paste_flow_drain(&port->flows, &port->rx);
	paste_kring_rx_commit(&port->rx);
	if (port->nic)
		paste_os_nic_refill(port->nic);
	return rejected != 0 ? EINVAL : 0;
}

int paste_port_txsync(struct paste_port *port)
{
	/* A pst port has no TX rings in this version. */
	return port ? 0 : ENXIO;
}

bool paste_port_readable(const struct paste_port *port)
{
	return paste_kring_readable(&port->rx);
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
	paste_kring_exit(&port->rx);
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
