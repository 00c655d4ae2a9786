// SPDX-License-Identifier: GPL-2.0-or-later
/* A socket of generic netlink. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "count.h"
#include "fuzz.h"

#define ROOM_TO_SEND	(2 * 1024 * 1024)

static uint32_t sequence;

void die(const char *what)
{
	perror(what);
	exit(2);
}

static void set(int fd, int level, int option, int value)
{
	if (setsockopt(fd, level, option, &value, sizeof(value)))
		die("setsockopt");
}

void open_port(struct port *port)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };

	port->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (port->fd < 0 || bind(port->fd, (struct sockaddr *)&address, sizeof(address)))
		die("socket");
	set(port->fd, SOL_SOCKET, SO_SNDBUFFORCE, ROOM_TO_SEND);
	set(port->fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
	set(port->fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
	set(port->fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, chance(50));
}

void close_port(struct port *port)
{
	close(port->fd);
}

static void send_data(struct port *port, const void *data, size_t size)
{
	if (send(port->fd, data, size, 0) < 0 && errno != ENOBUFS)
		die("send");
}

/* Gives a message its number, by which its answer is known */
static void number(const struct message *message, void *data)
{
	struct nlmsghdr *header = data;

	header->nlmsg_seq = ++sequence;
	count_sent(sequence, message);
}

void send_message(struct port *port, const struct message *message)
{
	number(message, (void *)message->data);
	send_data(port, message->data, message->size);
}

void send_together(struct port *port, const struct message *messages, unsigned int count)
{
	static unsigned char data[8 * ROOM];
	size_t size = 0;

	for (unsigned int i = 0; i < count; i++) {
		if (size + messages[i].size > ROOM_TO_SEND / 4)
			break;
		memcpy(data + size, messages[i].data, messages[i].size);
		number(&messages[i], data + size);
		size += NLMSG_ALIGN(messages[i].size);
	}
	send_data(port, data, size);
}

/* What there is to receive; at most so many times if there is a @limit, which leaves dumps open */
void drain(struct port *port, int limit)
{
	static unsigned char data[65536] __attribute__((aligned(8)));
	static const size_t sizes[] = { 600, 4096, 8192, 32768, 65536 };

	for (int times = 0; limit < 0 || times < limit; times++) {
		size_t room = limit < 0 ? sizeof(data) : PICK(sizes);
		ssize_t size = recv(port->fd, data, room, MSG_DONTWAIT);

		if (size < 0 && errno == EAGAIN)
			return;
		if (size < 0 && errno != ENOBUFS)
			die("recv");
		if (size > 0)
			count_received(data, size, NULL);
	}
}

/* Sends a message and waits for all of its answer */
struct answer ask(struct port *port, struct message *message)
{
	static unsigned char data[65536] __attribute__((aligned(8)));
	struct answer answer = { .error = -1 };

	drain(port, -1);
	send_message(port, message);
	while (answer.error < 0) {
		ssize_t size = recv(port->fd, data, sizeof(data), 0);

		if (size < 0)
			die("recv");
		count_received(data, size, &answer);
	}
	return answer;
}

void find_family(struct port *port)
{
	struct message *message = calloc(1, sizeof(*message));
	unsigned char data[8192] __attribute__((aligned(8)));
	struct nlmsghdr *header = (struct nlmsghdr *)data;
	ssize_t size;

	if (!message)
		die("calloc");
	family = GENL_ID_CTRL;
	start(message, CTRL_CMD_GETFAMILY);
	put(message, CTRL_ATTR_FAMILY_NAME, VIP_SHIM_NAME, sizeof(VIP_SHIM_NAME));
	finish(message);
	((struct nlmsghdr *)message->data)->nlmsg_flags = NLM_F_REQUEST;
	send_data(port, message->data, message->size);
	free(message);
	size = recv(port->fd, data, sizeof(data), 0);
	if (size < 0 || header->nlmsg_type == NLMSG_ERROR)
		die("the family vip_shim");
	family = find_u16(header, CTRL_ATTR_FAMILY_ID);
}
