// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writes the frames of standard input to a tap device, in order, round after
 * round, and prints what a round took in nanoseconds: the sum of the least time
 * of each batch, and the mean. The kernel handles a frame within its write().
 *
 *	sender DESCRIPTOR LENGTH COUNT BATCH ROUNDS
 *
 * The first round is not timed: it establishes connections and warms caches.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int tap;
static size_t length, count, batch, rounds;
static char *frames;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * UINT64_C(1000000000) + time.tv_nsec;
}

/* A tap that is down refuses each frame with EIO, after all work of its own */
static uint64_t send_batch(size_t first)
{
	uint64_t before = now();
	size_t i;

	for (i = first; i < first + batch; i++)
		if (write(tap, frames + i * length, length) < 0 && errno != EIO)
			die("write");
	return now() - before;
}

static void send_round(uint64_t *least, uint64_t *total)
{
	uint64_t took;
	size_t i;

	for (i = 0; i < count / batch; i++) {
		took = send_batch(i * batch);
		*total += took;
		if (took < least[i])
			least[i] = took;
	}
}

static uint64_t *no_times(void)
{
	uint64_t *least = calloc(count / batch, sizeof(*least));
	size_t i;

	if (!least)
		die("calloc");
	for (i = 0; i < count / batch; i++)
		least[i] = UINT64_MAX;
	return least;
}

int main(int argc, char **argv)
{
	uint64_t *least, total = 0, sum = 0;
	size_t i;

	if (argc != 6)
		return 2;
	tap = atoi(argv[1]);
	length = strtoul(argv[2], NULL, 10);
	count = strtoul(argv[3], NULL, 10);
	batch = strtoul(argv[4], NULL, 10);
	rounds = strtoul(argv[5], NULL, 10);
	frames = malloc(length * count);
	if (!frames || fread(frames, length, count, stdin) != count)
		die("frames");
	send_round(no_times(), &total);
	least = no_times();
	total = 0;
	for (i = 0; i < rounds; i++)
		send_round(least, &total);
	for (i = 0; i < count / batch; i++)
		sum += least[i];
	printf("%.2f %.2f\n", (double)sum, (double)total / rounds);
	return 0;
}
