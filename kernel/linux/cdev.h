/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * cdev.h -- the character device.
 */
#ifndef PASTE_LINUX_CDEV_H
#define PASTE_LINUX_CDEV_H

int paste_cdev_init(void);
void paste_cdev_exit(void);

#endif
