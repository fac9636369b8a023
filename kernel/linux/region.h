/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * region.h -- memory that user space and the module both see.
 */
#ifndef PASTE_LINUX_REGION_H
#define PASTE_LINUX_REGION_H

#include <linux/mm_types.h>

struct file;

struct paste_os_region {
	struct page **pages; /* pinned user pages; NULL: the module's own (vmalloc_user) */
	unsigned long count;
	void *address;     /* one contiguous mapping of all pages */
	struct file *file; /* what the user's pages map: keeps the file system mounted */
};

struct page *paste_region_page(const struct paste_os_region *region, u64 offset);

/* Map a region of the module's own into vma. Negative errno; -EINVAL for pinned user memory. */
int paste_region_mmap(const struct paste_os_region *region, struct vm_area_struct *vma);

#endif
