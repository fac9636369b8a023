// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * attach.c -- a NIC of ours receives into the buffers of a port.
 */
#include <linux/nsproxy.h>
#include <linux/sched.h>

#include "bufpool.h"
#include "nic.h"
#include "port.h"

int paste_os_nic_attach(struct paste_port *port, const char *name, struct paste_os_nic **out)
{
	struct paste_os_nic *nic = paste_nic_find(current->nsproxy->net_ns, name);
	int error;

	if (!nic)
		return ENXIO;
	/* TCP may hold buffers longer than the port lives. */
	paste_bufpool_pin_module(port->pool);
	error = -paste_nic_set_port(nic, port);
	if (!error)
		*out = nic;
	return error;
}

void paste_os_nic_detach(struct paste_port *port, struct paste_os_nic *nic)
{
	paste_nic_set_port(nic, NULL);
}

void paste_os_nic_refill(struct paste_os_nic *nic)
{
	paste_nic_refill(nic);
}
