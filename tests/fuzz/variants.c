/*
 * variants: what becomes of captures when they are cut and damaged: variants LEADING FIRST PATH...
 *
 * Every file (of folders: all) goes through a fuzz target cut at every 128 octets, and with 1 % of its bits
 * flipped, once anywhere and once in packets only, so that the reader gets to the end.  LEADING is how many
 * octets of its own the target takes before the file.  FIRST is where the first cut is: two targets that have
 * the same reader cut at 64 octets from each other, so that it is cut at every 64.  A cut far into a file
 * comes with the file's header and the records of the last WINDOW octets instead of all of it: otherwise time
 * would grow with the square of its size.
 *
 * PITOT_CORPUS in the environment names a folder with captures/, which is used instead of PATH.
 */
#include <dirent.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "fuzz.h"

enum { STEP = 128, WINDOW = 8192, WHOLE = 65536, LEADING_MAX = 8 };

static unsigned files, variants;
static size_t leading, first_cut;

struct file {
	uint8_t *data;
	size_t size;
	size_t header;	/* what every cut begins with */
	size_t *starts; /* of records or blocks; NULL: nothing is known of the format */
	size_t n_starts;
};

static uint64_t draw(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* ---- where records are: only as far as the file is sound */

static uint32_t word(const struct file *f, size_t at, bool swapped)
{
	uint32_t v;

	memcpy(&v, f->data + at, 4);
	return swapped ? __builtin_bswap32(v) : v;
}

static void add_start(struct file *f, size_t at)
{
	f->starts = realloc(f->starts, (f->n_starts + 1) * sizeof(*f->starts));
	FUZZ_CHECK(f->starts);
	f->starts[f->n_starts++] = at;
}

static void index_pcap(struct file *f, bool swapped)
{
	f->header = 24;
	for (size_t at = 24; at + 16 <= f->size; at += 16 + word(f, at + 8, swapped)) {
		add_start(f, at);
		if (word(f, at + 8, swapped) > f->size)
			break;
	}
}

/* The first section's header and interfaces are the file's header here. */
static void index_pcapng(struct file *f)
{
	bool swapped = f->size >= 12 && f->data[8] == 0x1a, leads = true;

	for (size_t at = 0; at + 12 <= f->size;) {
		uint32_t type = word(f, at, swapped), length = word(f, at + 4, swapped);

		if (length < 12 || length > f->size - at)
			break;
		leads = leads && (type == 0x0a0d0d0a || type == 1);
		add_start(f, at);
		at += length;
		if (leads)
			f->header = at;
	}
}

static void index_file(struct file *f)
{
	uint32_t magic = f->size >= 24 ? word(f, 0, false) : 0;

	if (magic == 0xa1b2c3d4 || magic == 0xa1b23c4d || magic == 0xd4c3b2a1 || magic == 0x4d3cb2a1)
		index_pcap(f, (magic & 0xff) == 0xa1);
	else if (magic == 0x0a0d0d0a)
		index_pcapng(f);
}

/* ---- variants */

/* In a block of exactly its size. */
static void try_pieces(const struct file *f, size_t first, size_t from, size_t to, uint64_t seed)
{
	size_t size = leading + first + (to - from);
	uint8_t *data = malloc(size ? size : 1);

	FUZZ_CHECK(data);
	for (size_t i = 0; i < leading; i++)
		data[i] = (uint8_t)(seed >> 8 * i);
	memcpy(data + leading, f->data, first);
	memcpy(data + leading + first, f->data + from, to - from);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	variants++;
}

static void try_cuts(const struct file *f)
{
	size_t near = 0;

	for (size_t cut = first_cut; cut <= f->size; cut += STEP) {
		if (cut <= WHOLE || !f->starts) {
			if (cut > WHOLE && (cut - first_cut) % WHOLE)
				continue; /* of unknown format */
			try_pieces(f, 0, 0, cut, cut);
			continue;
		}
		while (near + 1 < f->n_starts && f->starts[near + 1] + WINDOW <= cut)
			near++;
		if (f->starts[near] >= f->header && f->starts[near] <= cut)
			try_pieces(f, f->header, f->starts[near], cut, cut);
	}
}

/* One bit in a hundred.  skip: octets at the start of each record that stay as they are; 0: none do. */
static void try_flips(const struct file *f, uint64_t seed, size_t skip)
{
	struct file damaged = {.data = malloc(f->size ? f->size : 1), .size = f->size};
	uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	size_t record = 0;

	FUZZ_CHECK(damaged.data);
	memcpy(damaged.data, f->data, f->size);
	for (size_t bit = draw(&state) % 200; bit < 8 * f->size; bit += 1 + draw(&state) % 199) {
		size_t at = bit / 8;

		while (record + 1 < f->n_starts && f->starts[record + 1] <= at)
			record++;
		if (skip && (!f->n_starts || at < f->header || at < f->starts[record] + skip))
			continue;
		damaged.data[at] ^= (uint8_t)(1 << bit % 8);
	}
	try_pieces(&damaged, 0, 0, f->size, seed);
	free(damaged.data);
}

static void try_file(const char *path)
{
	FILE *in = fopen(path, "rb");
	struct file f = {0};
	struct stat st;

	FUZZ_CHECK(in && fstat(fileno(in), &st) == 0);
	f.size = (size_t)st.st_size;
	f.data = malloc(f.size ? f.size : 1);
	FUZZ_CHECK(f.data && fread(f.data, 1, f.size, in) == f.size);
	fclose(in);
	index_file(&f);
	try_cuts(&f);
	for (uint64_t seed = 1; seed <= 4; seed++) {
		try_flips(&f, seed, 0);
		try_flips(&f, seed, 28); /* pcap: 16; pcapng: an enhanced packet block's head */
	}
	free(f.starts);
	free(f.data);
	files++;
}

static void try_path(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;

	if (!dir) {
		try_file(path);
		return;
	}
	while ((e = readdir(dir))) {
		char name[4096 + 256 + 2];

		if (strstr(e->d_name, ".pcap") &&
		    snprintf(name, sizeof(name), "%s/%s", path, e->d_name) < (int)sizeof(name))
			try_file(name);
	}
	closedir(dir);
}

int main(int argc, char **argv)
{
	const char *corpus = getenv("PITOT_CORPUS");
	char captures[4096];

	leading = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 0;
	first_cut = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 0;
	FUZZ_CHECK(leading <= LEADING_MAX);
	if (corpus && corpus[0]) {
		snprintf(captures, sizeof(captures), "%s/captures", corpus);
		try_path(captures);
	} else {
		for (int i = 3; i < argc; i++)
			try_path(argv[i]);
	}
	printf("%u files, %u variants\n", files, variants);
	return variants ? 0 : 1;
}
