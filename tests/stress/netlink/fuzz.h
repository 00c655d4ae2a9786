/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A netlink fuzzer of the module's family: what its files share. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>

#include "uapi/vip_shim.h"

#define ROOM	(512 * 1024)	/* of a message */
#define COUNT(array)	(sizeof(array) / sizeof((array)[0]))
#define PICK(array)	((array)[dice(COUNT(array))])

enum kind {
	VALID,		/* as specified, of services and prefixes that may not be there */
	ODD,		/* well-formed, but not as specified */
	BROKEN,
	KINDS,
};

struct message {
	enum kind kind;
	unsigned char command;
	bool dump;
	size_t size;
	unsigned char data[ROOM] __attribute__((aligned(8)));
};

/* random.c */
void seed_dice(uint64_t seed);
uint32_t dice(uint32_t sides);	/* 0 to sides - 1; any number if there is none */
bool chance(unsigned int percent);

/* message.c: an envelope, attributes, commands as specified */
extern uint16_t family;

void start(struct message *message, unsigned char command);
void put(struct message *message, uint16_t type, const void *data, size_t size);
void put_u32(struct message *message, uint16_t type, uint32_t value);
void put_prefixes(struct message *message, int attribute, unsigned int count, bool odd);
void finish(struct message *message);
void make_valid(struct message *message, unsigned char command);
unsigned char any_command(void);

/* mutate.c: all the others */
void make_odd(struct message *message);
void make_broken(struct message *message);

/* port.c: a socket, and what comes of what is sent */
struct port {
	int fd;
};

struct answer {
	int error;		/* positive; 0 is an acknowledgement */
	unsigned int prefixes;
	uint32_t sum;		/* of their bytes */
	unsigned int services;
	bool interrupted;
};

void open_port(struct port *port);
void close_port(struct port *port);
void find_family(struct port *port);
void send_message(struct port *port, const struct message *message);
void send_together(struct port *port, const struct message *messages, unsigned int count);
void drain(struct port *port, int limit);
struct answer ask(struct port *port, struct message *message);
void report(void);
uint32_t sum_of(const unsigned char *array, size_t size, size_t each);
void die(const char *what);

/* after.c: what has to hold whatever came before */
void check_privileges(struct port *port);
void check_it_works(struct port *port);

#endif
