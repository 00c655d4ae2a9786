// SPDX-License-Identifier: GPL-2.0-or-later
/* Random numbers that are the same everywhere for the same seed. */

#include "fuzz.h"

static uint64_t state;

uint32_t dice(uint32_t sides)
{
	uint32_t number;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	number = (state * 0x2545f4914f6cdd1dULL) >> 32;
	return sides ? number % sides : number;
}

bool chance(unsigned int percent)
{
	return dice(100) < percent;
}

void seed_dice(uint64_t seed)
{
	state = seed * 0x9e3779b97f4a7c15ULL + 1;
	for (int i = 0; i < 8; i++)
		dice(0);
}
