// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * region.c -- pinned user memory and memory of our own, each mapped in one piece.
 *
 * User memory may be a file on an NVDIMM. Long-term pins are refused for fsdax (the file
 * system could not move or truncate), so there a plain pin is taken and the file kept open:
 * truncate then waits and umount says EBUSY until the pool is gone.
 */
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "paste_os.h"
#include "region.h"

struct page *paste_region_page(const struct paste_os_region *region, u64 offset)
{
	if (region->pages)
		return region->pages[offset >> PAGE_SHIFT];
	return vmalloc_to_page(region->address + (offset & PAGE_MASK));
}

/* The one mapping that holds [user, user + bytes); its file, if any, with a reference. */
static int find_mapping(u64 user, u64 bytes, struct file **file)
{
	struct vm_area_struct *vma;
	int error = EFAULT;

	mmap_read_lock(current->mm);
	vma = find_vma(current->mm, user);
	if (vma && vma->vm_start <= user && vma->vm_end - user >= bytes) {
		*file = vma->vm_file ? get_file(vma->vm_file) : NULL;
		error = 0;
	}
	mmap_read_unlock(current->mm);
	return error;
}

static long pin_some(u64 user, unsigned long count, struct page **pages)
{
	int batch = min_t(unsigned long, count, 1 << 16);
	long pinned;

	pinned = pin_user_pages_fast(user, batch, FOLL_WRITE | FOLL_LONGTERM, pages);
	if (pinned == -EOPNOTSUPP)
		pinned = pin_user_pages_fast(user, batch, FOLL_WRITE, pages);
	return pinned;
}

static int pin_pages(u64 user, struct paste_os_region *region)
{
	unsigned long done = 0;

	while (done < region->count) {
		long pinned = pin_some(user + (done << PAGE_SHIFT), region->count - done,
				       region->pages + done);

		if (pinned <= 0) {
			unpin_user_pages(region->pages, done);
			return pinned ? -pinned : EFAULT;
		}
		done += pinned;
	}
	return 0;
}

static int pin_and_map(u64 user, struct paste_os_region *region)
{
	int error;

	/* NOWARN: the user chose the size. */
	region->pages = kvcalloc(region->count, sizeof(*region->pages), GFP_KERNEL | __GFP_NOWARN);
	if (!region->pages)
		return ENOMEM;
	error = pin_pages(user, region);
	if (error)
		return error;
	region->address = vmap(region->pages, region->count, VM_MAP, PAGE_KERNEL);
	if (region->address)
		return 0;
	unpin_user_pages(region->pages, region->count);
	return ENOMEM;
}

int paste_os_region_pin(uint64_t user, uint64_t bytes, struct paste_os_region **out)
{
	struct paste_os_region *region;
	int error;

	if (!bytes || !PAGE_ALIGNED(user) || !PAGE_ALIGNED(bytes))
		return EINVAL;
	if (user + bytes < user)
		return EFAULT;
	region = kzalloc(sizeof(*region), GFP_KERNEL);
	if (!region)
		return ENOMEM;
	region->count = bytes >> PAGE_SHIFT;
	error = find_mapping(user, bytes, &region->file);
	if (!error)
		error = pin_and_map(user, region);
	if (error) {
		if (region->file)
			fput(region->file);
		kvfree(region->pages);
		kfree(region);
		return error;
	}
	*out = region;
	return 0;
}

int paste_os_region_alloc(uint64_t bytes, struct paste_os_region **out)
{
	struct paste_os_region *region;

	if (!bytes)
		return EINVAL;
	/* vmalloc would complain loudly, or have others killed first. */
	if (bytes > SZ_4G || bytes >> PAGE_SHIFT > si_mem_available() / 2)
		return ENOMEM;
	region = kzalloc(sizeof(*region), GFP_KERNEL);
	if (!region)
		return ENOMEM;
	region->count = DIV_ROUND_UP(bytes, PAGE_SIZE);
	region->address = vmalloc_user(region->count << PAGE_SHIFT);
	if (!region->address) {
		kfree(region);
		return ENOMEM;
	}
	*out = region;
	return 0;
}

void *paste_os_region_address(const struct paste_os_region *region)
{
	return region->address;
}

void paste_os_region_free(struct paste_os_region *region)
{
	if (region->pages) {
		vunmap(region->address);
		unpin_user_pages_dirty_lock(region->pages, region->count, true);
		kvfree(region->pages);
	} else {
		vfree(region->address);
	}
	if (region->file)
		fput(region->file);
	kfree(region);
}

int paste_region_mmap(const struct paste_os_region *region, struct vm_area_struct *vma)
{
	if (region->pages || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	return remap_vmalloc_range(vma, region->address, vma->vm_pgoff);
}
