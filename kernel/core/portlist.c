/* SPDX-License-Identifier: BSD-2-Clause */
/* portlist.c -- all ports, by name; and what names mean */
#include "portlist.h"

#define FIRST_MEM_ID 2u
#define LAST_MEM_ID  0xffffu

static struct paste_port *ports;
static uint16_t next_mem_id = FIRST_MEM_ID;

const char *paste_name_pst(const char *name)
{
	if (name[0] != 'p' || name[1] != 's' || name[2] != 't')
		return NULL;
	for (name += 3; *name != ':'; name++)
		if (*name == 0)
			return NULL;
	return name[1] != 0 ? name + 1 : NULL;
}

static const char *without_netmap(const char *name)
{
	static const char prefix[] = "netmap:";
	uint32_t i;

	for (i = 0; prefix[i] != 0; i++)
		if (name[i] != prefix[i])
			return name;
	return name + i;
}

const char *paste_name_nic(const char *name)
{
	const char *nic = without_netmap(name);
	const char *at;

	/* VALE and pst ports have a colon, pipes a brace. */
	for (at = nic; *at != 0; at++)
		if (*at == ':' || *at == '{' || *at == '}')
			return NULL;
	return *nic != 0 ? nic : NULL;
}

bool paste_name_equal(const char *name, const char *other)
{
	while (*name == *other && *name != 0) {
		name++;
		other++;
	}
	return *name == *other;
}

bool paste_name_same_pst(const char *name, const char *other)
{
	if (!paste_name_pst(name) || !paste_name_pst(other))
		return false;
	while (*name == *other && *name != ':') {
		name++;
		other++;
	}
	return *name == *other;
}

void paste_name_copy(char *to, const char *from)
{
	uint32_t i;

	memset(to, 0, NETMAP_REQ_IFNAMSIZ);
	for (i = 0; i < NETMAP_REQ_IFNAMSIZ - 1 && from[i] != 0; i++)
		to[i] = from[i];
}

struct paste_port *paste_port_find(const char *name)
{
	struct paste_port *port;

	name = without_netmap(name);
	for (port = ports; port; port = port->next)
		if (paste_name_equal(port->name, name))
			return port;
	return NULL;
}

struct paste_port *paste_port_find_pst(const struct paste_desc *desc, const char *name)
{
	struct paste_port *port, *found = NULL;

	if (desc->port && paste_name_same_pst(desc->port->name, name))
		return desc->port;
	for (port = ports; port; port = port->next) {
		if (!paste_name_same_pst(port->name, name))
			continue;
		if (found)
			return NULL;
		found = port;
	}
	return found;
}

void paste_port_list(struct paste_port *port)
{
	port->next = ports;
	ports = port;
}

void paste_port_unlist(struct paste_port *port)
{
	struct paste_port **link = &ports;

	while (*link && *link != port)
		link = &(*link)->next;
	if (*link)
		*link = port->next;
}

static bool mem_id_used(uint16_t mem_id)
{
	const struct paste_port *port;

	for (port = ports; port; port = port->next)
		if (port->mem_id == mem_id)
			return true;
	return false;
}

uint16_t paste_port_new_mem_id(void)
{
	uint32_t tries;
	uint16_t mem_id;

	for (tries = 0; tries < LAST_MEM_ID; tries++) {
		mem_id = next_mem_id;
		next_mem_id = mem_id == LAST_MEM_ID ? FIRST_MEM_ID : (uint16_t)(mem_id + 1);
		if (!mem_id_used(mem_id))
			return mem_id;
	}
	return 0;
}
