// SPDX-License-Identifier: GPL-2.0-or-later
/* Feeds a target where libFuzzer does not: ROUNDS SEED, or inputs in hex, a line each, as stdin. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT 1201		/* bytes of a random one: 200 operations */
#define LINE 65536

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* Bytes of which many are alike, so that prefixes meet */
static unsigned char dice(unsigned int variety)
{
	long number = random() >> 8;

	return number % 4 ? 0x91 * (number >> 4) % variety : number >> 4;
}

static void rounds(unsigned int count)
{
	unsigned char data[INPUT];

	for (unsigned int round = 0; round < count; round++) {
		unsigned int variety = 1 + random() % 256;

		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = (i + 5) % 6 < 2 ? random() >> 8 : dice(variety);
		LLVMFuzzerTestOneInput(data, sizeof(data));
	}
}

static unsigned int lines(FILE *from)
{
	static char line[LINE];
	unsigned char *data;
	unsigned int count;

	for (count = 0; fgets(line, sizeof(line), from); count++) {
		size_t size = strspn(line, "0123456789abcdef") / 2;

		data = malloc(size ?: 1);	/* of exactly its size, for the sanitizer */
		if (!data)
			abort();
		for (size_t i = 0; i < size; i++)
			sscanf(line + 2 * i, "%2hhx", &data[i]);
		LLVMFuzzerTestOneInput(data, size);
		free(data);
	}
	return count;
}

int main(int argc, char **argv)
{
	unsigned int count = argc > 1 ? atoi(argv[1]) : 0;

	srandom(argc > 2 ? atoi(argv[2]) : 1);
	if (count)
		rounds(count);
	else
		count = lines(stdin);
	printf("%u inputs: no flaw\n", count);
	return 0;
}
