// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * module.c -- loading and unloading.
 */
#include <linux/module.h>

#include "bufpool.h"
#include "cdev.h"
#include "nic.h"
#include "socket.h"

static char *nics[16];
static int nic_count;
module_param_array(nics, charp, &nic_count, 0444);
MODULE_PARM_DESC(nics, "names of the virtio NICs to take over, e.g. nics=eth0,eth1");

static int __init paste_init(void)
{
	int error = paste_bufpool_init();

	if (error)
		return error;
	error = paste_nic_init(nics, nic_count);
	if (error)
		goto no_nics;
	error = paste_cdev_init();
	if (error)
		goto no_cdev;
	error = paste_socket_init();
	if (error)
		goto no_sockets;
	return 0;

no_sockets:
	paste_cdev_exit();
no_cdev:
	paste_nic_exit();
no_nics:
	paste_bufpool_exit();
	return error;
}

static void __exit paste_exit(void)
{
	paste_socket_exit();
	paste_cdev_exit();
	paste_nic_exit();
	paste_bufpool_exit();
}

/* Nothing else of the module is known outside; see Kbuild. */
int __visible init_module(void);
void __visible cleanup_module(void);

module_init(paste_init);
module_exit(paste_exit);
MODULE_DESCRIPTION("PASTE: packets in application-owned buffers");
MODULE_LICENSE("Dual BSD/GPL");
