/*
 * What the programs of this folder share: a pcap file in memory, and numbers on the command line.
 */
#ifndef BENCH_FILE_H
#define BENCH_FILE_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PCAP_MAGIC_USEC 0xa1b2c3d4u
#define PCAP_HEADER	24u
#define PCAP_RECORD	16u

_Noreturn static inline void bench_die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

static inline uint64_t bench_number(const char *text, uint64_t least, uint64_t most)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);

	if (*end || end == text || n < least || n > most)
		bench_die(text, "a number out of range");
	return n;
}

/* The whole of a classic pcap file of this machine's byte order, mapped; *size are its octets. */
static inline const uint8_t *bench_map(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint32_t magic;
	void *p;

	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size < (off_t)PCAP_HEADER)
		bench_die(path, "cannot be read");
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (p == MAP_FAILED)
		bench_die(path, "cannot be mapped");
	close(fd);
	memcpy(&magic, p, sizeof(magic));
	if (magic != PCAP_MAGIC_USEC)
		bench_die(path, "is no pcap file with microseconds");
	*size = (size_t)st.st_size;
	return p;
}

#endif
