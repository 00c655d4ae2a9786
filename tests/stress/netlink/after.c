// SPDX-License-Identifier: GPL-2.0-or-later
/* What has to hold whatever came before. */

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

#define MANY	2000		/* prefixes, of each IP version */

static struct message message;

static void drop_net_admin(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		die("capget");
	data[0].effective &= ~(1U << CAP_NET_ADMIN);
	data[0].permitted &= ~(1U << CAP_NET_ADMIN);
	if (syscall(SYS_capset, &header, data))
		die("capset");
}

static void must(bool holds, const char *what, int number)
{
	if (holds)
		return;
	fprintf(stderr, "it is not so that %s: %d\n", what, number);
	exit(1);
}

static void check_no_permission(struct port *port)
{
	for (int command = 1; command <= VIP_SHIM_CMD_MAX; command++) {
		make_valid(&message, command);
		must(ask(port, &message).error == EPERM, "a command needs CAP_NET_ADMIN", command);
	}
}

/* Neither a new socket nor one that was opened with privileges is of any use without them */
void check_privileges(struct port *port)
{
	int status = -1;
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (!child) {
		struct port own;

		drop_net_admin();
		check_no_permission(port);
		own.fd = syscall(SYS_socket, 16, 3, 16);
		if (own.fd < 0)
			die("socket");
		check_no_permission(&own);
		_exit(0);
	}
	waitpid(child, &status, 0);
	must(!status, "commands without privileges are refused", status);
}

static struct answer say(struct port *port, unsigned char command)
{
	start(&message, command);
	finish(&message);
	return ask(port, &message);
}

static void do_well(struct port *port)
{
	int error = ask(port, &message).error;

	must(!error, "a valid command is carried out", error);
}

/* Prefixes that are all different, the same each time. Returns their sum */
static uint32_t add(struct port *port, int attribute, unsigned int bytes, uint32_t plane)
{
	static unsigned char array[MANY * 20];

	memset(array, 0, sizeof(array));
	for (unsigned int i = 0; i < MANY; i++) {
		unsigned char *prefix = array + i * (bytes + 4);

		prefix[0] = 0x20;
		prefix[1] = i;
		prefix[2] = i >> 8;
		prefix[bytes] = bytes * 8 - i % 8;
	}
	start(&message, VIP_SHIM_CMD_ADD);
	put_u32(&message, VIP_SHIM_A_MARK, 7);
	put_u32(&message, VIP_SHIM_A_PLANE, plane);
	put(&message, attribute, array, MANY * (bytes + 4));
	put(&message, VIP_SHIM_A_STAGED, NULL, 0);
	finish(&message);
	do_well(port);
	return sum_of(array, MANY * (bytes + 4), bytes + 4);
}

static uint32_t replace(struct port *port)
{
	uint32_t sum;

	must(!say(port, VIP_SHIM_CMD_BEGIN).error, "BEGIN is carried out", 0);
	start(&message, VIP_SHIM_CMD_SET_SERVICE);
	put_u32(&message, VIP_SHIM_A_MARK, 7);
	put(&message, VIP_SHIM_A_STAGED, NULL, 0);
	finish(&message);
	do_well(port);
	sum = add(port, VIP_SHIM_A_PREFIXES4, 4, 0);
	sum += add(port, VIP_SHIM_A_PREFIXES6, 16, 63);
	must(!say(port, VIP_SHIM_CMD_COMMIT).error, "COMMIT is carried out", 0);
	return sum;
}

/* Twice the same: what is there is what was put there, and nothing else */
void check_it_works(struct port *port)
{
	for (int round = 0; round < 2; round++) {
		struct answer answer;
		uint32_t sum;

		must(!say(port, VIP_SHIM_CMD_FLUSH).error, "FLUSH is carried out", round);
		answer = say(port, VIP_SHIM_CMD_GET);
		must(!answer.error && !answer.prefixes, "FLUSH leaves no prefix", answer.prefixes);
		answer = say(port, VIP_SHIM_CMD_GET_SERVICE);
		must(!answer.error && !answer.services, "FLUSH leaves no service", answer.services);
		sum = replace(port);
		answer = say(port, VIP_SHIM_CMD_GET);
		must(answer.prefixes == 2 * MANY && !answer.interrupted && !answer.error,
		     "all prefixes are told", answer.prefixes);
		must(answer.sum == sum, "they are told as they were given", round);
		must(say(port, VIP_SHIM_CMD_GET_SERVICE).services == 1, "there is one service", 0);
	}
	printf("it works afterwards\n");
}
