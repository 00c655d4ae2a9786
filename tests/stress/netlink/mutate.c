// SPDX-License-Identifier: GPL-2.0-or-later
/* Messages that are not as the header specifies them. */

#include <arpa/inet.h>
#include <string.h>

#include "fuzz.h"

#define HEADERS	NLMSG_LENGTH(GENL_HDRLEN)

static struct nlmsghdr *header(struct message *message)
{
	return (struct nlmsghdr *)message->data;
}

/* A value that its attribute must not have */
static void put_bad_value(struct message *message)
{
	static const struct vip_shim_port ports[] = {
		{ 0, 6, 0 }, { 80, 1, 0 }, { 80, 6, 1 }, { 80, 0, 0 },
	};
	static unsigned char many[65000];

	switch (dice(7)) {
	case 0:
		put_u32(message, VIP_SHIM_A_MARK, 0);
		break;
	case 1:
		put_u32(message, VIP_SHIM_A_PLANE, VIP_SHIM_MAX_PLANES + dice(3));
		break;
	case 2:
		put_u32(message, VIP_SHIM_A_FLAGS, dice(0) | 1 << 31);
		break;
	case 3:
		put(message, VIP_SHIM_A_PORTS, &PICK(ports), sizeof(*ports));
		break;
	case 4:
		put(message, VIP_SHIM_A_PORTS, many, 4100 + dice(60000));
		break;
	case 5:
		put_prefixes(message, VIP_SHIM_A_PREFIXES4 + dice(2), 1 + dice(3), true);
		break;
	case 6:
		put(message, VIP_SHIM_A_PREFIXES4 + dice(2), many, 1 + dice(60));
	}
}

/* An attribute that is none of the command's, is of another size, or is there once more */
static void put_any(struct message *message)
{
	unsigned char data[64];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = dice(0);
	put(message, dice(VIP_SHIM_A_MAX + 5), data, chance(50) ? 4 : dice(sizeof(data)));
}

void make_odd(struct message *message)
{
	struct genlmsghdr *generic = NLMSG_DATA(header(message));

	switch (dice(6)) {
	case 0:		/* what is missing */
		start(message, any_command());
		break;
	case 1:		/* unknown commands */
		make_valid(message, any_command());
		message->command = generic->cmd = dice(256);
		break;
	case 2:		/* a dump of what has none, or the contrary */
		make_valid(message, any_command());
		header(message)->nlmsg_flags ^= NLM_F_DUMP;
		break;
	case 3:		/* other headers */
		make_valid(message, any_command());
		header(message)->nlmsg_flags ^= 1 << dice(16);
		generic->version = dice(256);
		generic->reserved = chance(50) ? dice(65536) : 0;
		break;
	case 4:
		make_valid(message, any_command());
		put_any(message);
		break;
	default:
		make_valid(message, any_command());
		put_bad_value(message);
	}
	message->kind = ODD;
	finish(message);
}

/* Somewhere behind the netlink header: another family's commands are not ours to try */
static size_t somewhere(const struct message *message)
{
	return NLMSG_HDRLEN + dice(message->size - NLMSG_HDRLEN);
}

static void flip(struct message *message)
{
	for (unsigned int count = 1 + dice(8); count; count--)
		message->data[somewhere(message)] ^= 1 << dice(8);
}

/* The length of an attribute, if it has one */
static void stretch(struct message *message)
{
	static const uint16_t lengths[] = { 0, 1, 3, 4, 5, 8, 12, 0x7fff, 0xfffc, 0xffff };
	size_t at = HEADERS;

	while (at + NLA_HDRLEN <= message->size) {
		struct nlattr *attribute = (struct nlattr *)(message->data + at);
		size_t next = at + NLA_ALIGN(attribute->nla_len);

		if (chance(40) || next + NLA_HDRLEN > message->size) {
			attribute->nla_len = chance(50) ? PICK(lengths) : dice(0);
			return;
		}
		at = next;
	}
}

/* All attributes within one, within one, … */
static void nest(struct message *message)
{
	for (unsigned int depth = 1 + dice(40); depth; depth--) {
		struct nlattr *outer = (struct nlattr *)(message->data + HEADERS);
		size_t size = message->size - HEADERS;

		if (size > 60000)
			return;
		memmove(message->data + HEADERS + NLA_HDRLEN, outer, size);
		outer->nla_type = dice(VIP_SHIM_A_MAX + 2) | NLA_F_NESTED;
		outer->nla_len = NLA_HDRLEN + size;
		message->size += NLA_HDRLEN;
	}
}

static void put_many(struct message *message)
{
	unsigned int size = chance(50) ? 0 : 4, count = dice(chance(20) ? 20000 : 300);

	while (count--)
		put(message, dice(VIP_SHIM_A_MAX + 1), "....", size);
}

static void put_huge(struct message *message)
{
	static unsigned char data[65535];

	for (unsigned int count = 1 + dice(4); count; count--)
		put(message, dice(VIP_SHIM_A_MAX + 1), data, 65531 - dice(8));
}

static void put_noise(struct message *message)
{
	for (unsigned int count = dice(400); count && message->size < ROOM; count--)
		message->data[message->size++] = dice(0);
}

/* As the kernel would take a datagram apart, so that all it finds is ours */
static void stay_in_family(struct message *message)
{
	size_t at = 0;

	while (at + NLMSG_HDRLEN <= message->size) {
		struct nlmsghdr *next = (struct nlmsghdr *)(message->data + at);

		if (next->nlmsg_len < NLMSG_HDRLEN || next->nlmsg_len > message->size - at)
			return;
		if (next->nlmsg_type >= NLMSG_MIN_TYPE)
			next->nlmsg_type = family;
		at += NLMSG_ALIGN(next->nlmsg_len);
	}
}

void make_broken(struct message *message)
{
	void (*const ways[])(struct message *) = {
		flip, flip, flip, stretch, stretch, nest, put_many, put_huge, put_noise,
	};

	if (chance(60))
		make_valid(message, any_command());
	else
		make_odd(message);
	for (unsigned int count = 1 + dice(2); count; count--)
		PICK(ways)(message);
	if (chance(80))
		finish(message);
	if (chance(25) && message->size > NLMSG_HDRLEN)
		message->size -= dice(message->size - NLMSG_HDRLEN);
	if (chance(10))
		header(message)->nlmsg_len = dice(chance(50) ? 100 : 0);
	if (chance(2))
		header(message)->nlmsg_type = dice(NLMSG_MIN_TYPE);
	message->kind = BROKEN;
	stay_in_family(message);
}
