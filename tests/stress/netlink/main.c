// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sends random messages to the family vip_shim, in a network namespace of its own. SEED MESSAGES:
 * the same seed sends the same. Exit status: 1 if something that must hold does not.
 */

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

#define PORTS		5
#define TOGETHER	6	/* messages in one datagram */

static struct message messages[TOGETHER];

static void make(struct message *message)
{
	unsigned int what = dice(100);

	if (what < 60)
		make_valid(message, any_command());
	else if (what < 75)
		make_odd(message);
	else
		make_broken(message);
}

static unsigned int step(struct port *port)
{
	unsigned int count = chance(10) ? 2 + dice(TOGETHER - 1) : 1;

	for (unsigned int i = 0; i < count; i++)
		if (count == 1)
			make(&messages[i]);
		else
			make_valid(&messages[i], any_command());
	if (count == 1)
		send_message(port, messages);
	else
		send_together(port, messages, count);
	drain(port, chance(30) ? (int)dice(3) : -1);
	if (chance(2)) {
		close_port(port);
		open_port(port);
	}
	return count;
}

int main(int argc, char **argv)
{
	struct port ports[PORTS];
	int left = argc > 2 ? atoi(argv[2]) : 1000, leave = argc > 1 && atoi(argv[1]) % 2;

	seed_dice(argc > 1 ? strtoull(argv[1], NULL, 0) : 1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (unshare(CLONE_NEWNET))
		die("unshare");
	for (unsigned int i = 0; i < PORTS; i++)
		open_port(&ports[i]);
	find_family(&ports[0]);
	while (left > 0)
		left -= step(&PICK(ports));
	check_privileges(&ports[0]);
	for (unsigned int i = 0; i < PORTS; i++)
		close_port(&ports[i]);
	open_port(&ports[0]);
	check_it_works(&ports[0]);
	start(messages, leave ? VIP_SHIM_CMD_BEGIN : VIP_SHIM_CMD_FLUSH);	/* or it is left */
	finish(messages);
	ask(&ports[0], messages);
	report();
	return 0;
}
