/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who was answered what. */
#ifndef COUNT_H
#define COUNT_H

#include "fuzz.h"

void count_sent(uint32_t sequence, const struct message *message);
void count_received(const void *data, size_t size, struct answer *answer);
uint16_t find_u16(const struct nlmsghdr *header, int attribute);

#endif
