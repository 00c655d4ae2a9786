// SPDX-License-Identifier: GPL-2.0-or-later
/* Takes answers apart and counts them, by command and by error. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "count.h"

#define COMMANDS	(VIP_SHIM_CMD_MAX + 2)	/* the last: those that there are not */
#define ERRORS		140
#define TEXTS		64
#define WINDOW		4096	/* messages that may be unanswered */

struct text {
	char words[100];
	unsigned int times;
};

static const char *const names[COMMANDS] = {
	"UNSPEC", "INFO", "SET_SERVICE", "DEL_SERVICE", "GET_SERVICE", "ADD", "DEL", "GET", "BEGIN",
	"COMMIT", "FLUSH", "(none such)",
};
static const char *const kinds[KINDS] = { "valid", "odd", "broken" };

static struct {
	uint32_t sequence;
	unsigned char command;
	enum kind kind;
} window[WINDOW];

static unsigned int sent[COMMANDS][KINDS];
static unsigned int errors[COMMANDS][ERRORS];
static unsigned int silent[COMMANDS][ERRORS];	/* well-formed, refused without words */
static struct text texts[TEXTS];
static unsigned int told, interrupted;

void count_sent(uint32_t sequence, const struct message *message)
{
	unsigned char command = message->command;

	if (command >= COMMANDS)
		command = COMMANDS - 1;
	sent[command][message->kind]++;
	window[sequence % WINDOW].sequence = sequence;
	window[sequence % WINDOW].command = command;
	window[sequence % WINDOW].kind = message->kind;
}

static const struct nlattr *next_of(const struct nlattr *attribute)
{
	return (const void *)((const char *)attribute + NLA_ALIGN(attribute->nla_len));
}

/* The attribute of that type, between two places; the kernel's own must be sound */
static const void *find(const void *from, const void *end, int type, size_t *size)
{
	const struct nlattr *attribute = from;

	for (; (const char *)attribute + NLA_HDRLEN <= (const char *)end; attribute = next_of(attribute)) {
		if (attribute->nla_len < NLA_HDRLEN ||
		    (const char *)attribute + attribute->nla_len > (const char *)end) {
			fprintf(stderr, "an answer has an attribute without end\n");
			exit(1);
		}
		if ((attribute->nla_type & NLA_TYPE_MASK) == type) {
			*size = attribute->nla_len - NLA_HDRLEN;
			return (const char *)attribute + NLA_HDRLEN;
		}
	}
	return NULL;
}

static const void *find_in(const struct nlmsghdr *header, int type, size_t *size)
{
	return find((const char *)header + NLMSG_LENGTH(GENL_HDRLEN),
		    (const char *)header + header->nlmsg_len, type, size);
}

uint16_t find_u16(const struct nlmsghdr *header, int attribute)
{
	size_t size;
	const uint16_t *value = find_in(header, attribute, &size);

	return value ? *value : 0;
}

static void count_text(const char *words)
{
	for (struct text *text = texts; text < texts + TEXTS; text++) {
		if (text->times && strncmp(text->words, words, sizeof(text->words) - 1))
			continue;
		if (!text->times++)
			snprintf(text->words, sizeof(text->words), "%s", words);
		return;
	}
}

/* What the specification wants a reason for */
static bool needs_words(int error)
{
	return error == EINVAL || error == ENOENT || error == EBUSY || error == ENOSPC ||
	       error == ERANGE;
}

static void count_error(const struct nlmsghdr *header, int error)
{
	const char *own = NLMSG_DATA(header), *words = NULL;
	unsigned int at = header->nlmsg_seq % WINDOW, command = COMMANDS - 1;
	enum kind kind = BROKEN;
	size_t size;

	if (window[at].sequence == header->nlmsg_seq) {
		command = window[at].command;
		kind = window[at].kind;
	}
	if (header->nlmsg_flags & NLM_F_ACK_TLVS) {
		own += header->nlmsg_type == NLMSG_DONE ? sizeof(int) : sizeof(struct nlmsgerr);
		words = find(own, (const char *)header + header->nlmsg_len, NLMSGERR_ATTR_MSG, &size);
	}
	errors[command][error < ERRORS ? error : ERRORS - 1]++;
	if (words)
		count_text(words);
	else if (kind != BROKEN && needs_words(error))
		silent[command][error]++;
}

/* The same in whatever order the prefixes come */
uint32_t sum_of(const unsigned char *array, size_t size, size_t each)
{
	uint32_t sum = 0;

	for (size_t at = 0; at < size; at += each) {
		uint32_t one = 2166136261;

		for (size_t i = 0; i < each; i++)
			one = (one ^ array[at + i]) * 16777619;
		sum += one;
	}
	return sum;
}

static void count_array(const struct nlmsghdr *header, int type, size_t each, struct answer *answer)
{
	size_t size;
	const unsigned char *array = find_in(header, type, &size);

	if (!array)
		return;
	if (size % each) {
		fprintf(stderr, "an answer has %zu bytes of prefixes of %zu\n", size, each);
		exit(1);
	}
	answer->prefixes += size / each;
	answer->sum += sum_of(array, size, each);
}

static void count_told(const struct nlmsghdr *header, struct answer *answer)
{
	const struct genlmsghdr *generic = NLMSG_DATA(header);
	struct answer nobody = {};

	told++;
	interrupted += !!(header->nlmsg_flags & NLM_F_DUMP_INTR);
	answer = answer ?: &nobody;
	answer->interrupted |= !!(header->nlmsg_flags & NLM_F_DUMP_INTR);
	answer->services += generic->cmd == VIP_SHIM_CMD_GET_SERVICE;
	if (generic->cmd == VIP_SHIM_CMD_GET) {
		count_array(header, VIP_SHIM_A_PREFIXES4, sizeof(struct vip_shim_prefix4), answer);
		count_array(header, VIP_SHIM_A_PREFIXES6, sizeof(struct vip_shim_prefix6), answer);
	}
}

void count_received(const void *data, size_t size, struct answer *answer)
{
	const struct nlmsghdr *header = data;
	int left = size;

	for (; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
		if (header->nlmsg_type == family) {
			count_told(header, answer);
		} else if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE) {
			int error = -*(const int *)NLMSG_DATA(header);

			count_error(header, error);
			if (answer) {
				answer->error = error;
				answer->interrupted |= !!(header->nlmsg_flags & NLM_F_DUMP_INTR);
			}
		}
	}
}

void report(void)
{
	unsigned int total[KINDS] = {};

	for (unsigned int command = 0; command < COMMANDS; command++) {
		printf("%-12s", names[command]);
		for (int kind = 0; kind < KINDS; kind++) {
			printf(" %u %s", sent[command][kind], kinds[kind]);
			total[kind] += sent[command][kind];
		}
		printf(":");
		for (unsigned int error = 0; error < ERRORS; error++)
			if (errors[command][error])
				printf(" %s %u", error ? strerrorname_np(error) : "ok",
				       errors[command][error]);
		printf("\n");
	}
	for (struct text *text = texts; text < texts + TEXTS && text->times; text++)
		printf("words: %u \"%s\"\n", text->times, text->words);
	for (unsigned int command = 0; command < COMMANDS; command++)
		for (unsigned int error = 0; error < ERRORS; error++)
			if (silent[command][error])
				printf("without words: %s %s %u\n", names[command],
				       strerrorname_np(error), silent[command][error]);
	printf("sent %u valid, %u odd, %u broken; told %u messages, %u of interrupted dumps\n",
	       total[VALID], total[ODD], total[BROKEN], told, interrupted);
}
