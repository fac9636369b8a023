// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * paste.c -- the module as one translation unit.
 *
 * The kernel's headers are most of what is compiled. Read once instead of once per file, they
 * cost a sixth of the time, which an emulated guest feels; and functions are inlined across
 * files. The price: a static name is the whole module's, so it must be unlike all others.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "../core/control.c"
#include "../core/flow.c"
#include "../core/kring.c"
#include "../core/kring_tx.c"
#include "../core/layout.c"
#include "../core/plan.c"
#include "../core/pool.c"
#include "../core/port.c"
#include "../core/portlist.c"
#include "../core/register.c"
#include "../core/request.c"
#include "../core/transmit.c"
#include "../core/transmit_slot.c"

#include "os.c"
#include "region.c"
#include "bufpool.c"
#include "counters.c"

#include "rtnl.c"
#include "netconfig_save.c"
#include "netconfig_apply.c"
#include "takeover.c"

#include "frame.c"
#include "skbcache.c"
#include "zerocopy.c"
#include "demux.c"
#include "vring.c"
#include "nic_raw.c"
#include "nic_rx.c"
#include "nic_tx.c"
#include "nic_poll.c"
#include "nic_netdev.c"
#include "nic.c"

#include "output.c"
#include "drain.c"
#include "capture.c"
#include "send.c"
#include "queue.c"
#include "socket.c"
#include "socket_port.c"
#include "socket_request.c"
#include "attach.c"
#include "cdev.c"
#include "module.c"
