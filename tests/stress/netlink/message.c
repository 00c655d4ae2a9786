// SPDX-License-Identifier: GPL-2.0-or-later
/* Commands as the header specifies them, with values out of small sets, so that they meet. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "fuzz.h"

uint16_t family;

static struct nlmsghdr *header(struct message *message)
{
	return (struct nlmsghdr *)message->data;
}

static bool is_dump(unsigned char command)
{
	return command == VIP_SHIM_CMD_GET || command == VIP_SHIM_CMD_GET_SERVICE;
}

void start(struct message *message, unsigned char command)
{
	struct genlmsghdr *generic = NLMSG_DATA(header(message));

	message->kind = VALID;
	message->command = command;
	message->dump = is_dump(command);
	message->size = NLMSG_LENGTH(GENL_HDRLEN);
	memset(message->data, 0, message->size);
	header(message)->nlmsg_type = family;
	header(message)->nlmsg_flags = NLM_F_REQUEST | (message->dump ? NLM_F_DUMP : NLM_F_ACK);
	generic->cmd = command;
	generic->version = VIP_SHIM_VERSION;
}

void finish(struct message *message)
{
	header(message)->nlmsg_len = message->size;
}

void put(struct message *message, uint16_t type, const void *data, size_t size)
{
	struct nlattr *attribute = (struct nlattr *)(message->data + message->size);
	size_t aligned = NLA_HDRLEN + NLA_ALIGN(size);

	if (message->size + aligned > ROOM)
		return;
	memset(attribute, 0, aligned);
	attribute->nla_type = type;
	attribute->nla_len = NLA_HDRLEN + size;
	if (size)
		memcpy((char *)attribute + NLA_HDRLEN, data, size);
	message->size += aligned;
}

void put_u32(struct message *message, uint16_t type, uint32_t value)
{
	put(message, type, &value, sizeof(value));
}

/* Addresses of a few networks; no bit beyond the length unless it may be @odd */
static void make_prefix(unsigned char *address, unsigned char *length, unsigned int bytes, bool odd)
{
	static const unsigned char nets[][4] = { { 10 }, { 203, 0, 113 }, { 0x20, 1, 0xd, 0xb8 } };

	memcpy(address, PICK(nets), 4);
	for (unsigned int i = bytes - 2; i < bytes; i++)
		address[i] = dice(0);
	*length = chance(70) ? bytes * 8 : 1 + dice(bytes * 8);
	if (odd && chance(50)) {
		*length = dice(0);
		return;
	}
	for (unsigned int bit = *length; bit < bytes * 8; bit++)
		address[bit / 8] &= ~(0x80 >> bit % 8);
}

void put_prefixes(struct message *message, int attribute, unsigned int count, bool odd)
{
	static unsigned char array[65536];
	unsigned int bytes = attribute == VIP_SHIM_A_PREFIXES4 ? 4 : 16, size = bytes + 4;

	memset(array, 0, sizeof(array));
	if (count > (65535 - NLA_HDRLEN) / size)
		count = (65535 - NLA_HDRLEN) / size;
	for (unsigned int i = 0; i < count; i++)
		make_prefix(array + i * size, array + i * size + bytes, bytes,
			    odd && (count == 1 || chance(10)));
	put(message, attribute, array, count * size);
}

static void put_ports(struct message *message)
{
	static const unsigned int counts[] = { 0, 1, 1, 3, 17, 1000, VIP_SHIM_MAX_PORTS };
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };
	struct vip_shim_port ports[VIP_SHIM_MAX_PORTS];
	unsigned int count = PICK(counts);

	for (unsigned int i = 0; i < count; i++)
		ports[i] = (struct vip_shim_port){ htons(1 + dice(65535)), PICK(protocols), 0 };
	put(message, VIP_SHIM_A_PORTS, ports, count * sizeof(*ports));
}

static void put_mark(struct message *message)
{
	static const uint32_t marks[] = { 1, 2, 3, 0xffffffff };

	put_u32(message, VIP_SHIM_A_MARK, chance(90) ? PICK(marks) : 1 + dice(1000));
}

static void put_arrays(struct message *message)
{
	static const unsigned int counts[] = { 0, 1, 1, 2, 5, 16, 200, 1000 };

	if (chance(50))
		put_u32(message, VIP_SHIM_A_PLANE,
			chance(80) ? dice(3) : dice(VIP_SHIM_MAX_PLANES));
	for (int attribute = VIP_SHIM_A_PREFIXES4; attribute <= VIP_SHIM_A_PREFIXES6; attribute++)
		if (chance(70))
			put_prefixes(message, attribute, chance(1) ? 65535 : PICK(counts), false);
}

void make_valid(struct message *message, unsigned char command)
{
	bool changes = command == VIP_SHIM_CMD_SET_SERVICE || command == VIP_SHIM_CMD_ADD ||
		       command == VIP_SHIM_CMD_DEL_SERVICE || command == VIP_SHIM_CMD_DEL;

	start(message, command);
	if (changes && command != VIP_SHIM_CMD_DEL)
		put_mark(message);
	if (command == VIP_SHIM_CMD_SET_SERVICE) {
		put_u32(message, VIP_SHIM_A_FLAGS, dice(0) & VIP_SHIM_F_ALL);
		if (chance(50))
			put_ports(message);
	}
	if (command == VIP_SHIM_CMD_ADD || command == VIP_SHIM_CMD_DEL)
		put_arrays(message);
	if (changes && chance(25))
		put(message, VIP_SHIM_A_STAGED, NULL, 0);
	finish(message);
}

/* FLUSH and COMMIT wait for readers, BEGIN takes what is staged from its socket */
unsigned char any_command(void)
{
	static const unsigned char weights[VIP_SHIM_CMD_MAX + 1] = {
		[VIP_SHIM_CMD_INFO] = 5,
		[VIP_SHIM_CMD_SET_SERVICE] = 25,
		[VIP_SHIM_CMD_DEL_SERVICE] = 6,
		[VIP_SHIM_CMD_GET_SERVICE] = 5,
		[VIP_SHIM_CMD_ADD] = 40,
		[VIP_SHIM_CMD_DEL] = 20,
		[VIP_SHIM_CMD_GET] = 8,
		[VIP_SHIM_CMD_BEGIN] = 8,
		[VIP_SHIM_CMD_COMMIT] = 5,
		[VIP_SHIM_CMD_FLUSH] = 1,
	};
	unsigned int total = 0, at, command;

	for (command = 0; command < COUNT(weights); command++)
		total += weights[command];
	at = dice(total);
	for (command = 0; at >= weights[command]; command++)
		at -= weights[command];
	return command;
}
