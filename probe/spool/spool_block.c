/*
 * spool_block: the octets around a message in a segment file, and their checksum.
 *
 * Each is a message of IPFIX by itself, so that a segment is a file of messages (RFC 5655 §4): a template
 * message, then pairs of a message with one record of template 65535 and the message that the record is
 * about.  The record is one octetArray of the documentation's enterprise number (RFC 5612); these messages
 * are in observation domain 0, where they meet no template of an exporter.
 *
 * CRC-32C (RFC 3720 §B.4), eight octets at a time: it finds damage, not malice.  Whoever may write here is
 * us.
 */
#include <string.h>

#include "pitot/wire.h"
#include "spool/spool_internal.h"

#define TEMPLATE_ID 65535u
#define ELEMENT	    1u
#define ENTERPRISE  32473u
#define RECORD	    48u /* octets of the record, checksums included */
#define RECORD_AT   20u
#define MAGIC	    "pitotspl"

void spool_crc_init(struct spool_crc *crc)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (unsigned bit = 0; bit < 8; bit++)
			c = c >> 1 ^ (c & 1 ? UINT32_C(0x82f63b78) : 0);
		crc->table[0][i] = c;
	}
	for (unsigned k = 1; k < 8; k++)
		for (unsigned i = 0; i < 256; i++) {
			uint32_t c = crc->table[k - 1][i];

			crc->table[k][i] = crc->table[0][c & 0xff] ^ c >> 8;
		}
}

uint32_t spool_crc(const struct spool_crc *crc, const uint8_t *data, size_t size)
{
	uint32_t c = UINT32_MAX;

	for (; size >= 8; size -= 8, data += 8) {
		c ^= (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
		     (uint32_t)data[3] << 24;
		c = crc->table[7][c & 0xff] ^ crc->table[6][c >> 8 & 0xff] ^ crc->table[5][c >> 16 & 0xff] ^
		    crc->table[4][c >> 24] ^ crc->table[3][data[4]] ^ crc->table[2][data[5]] ^
		    crc->table[1][data[6]] ^ crc->table[0][data[7]];
	}
	for (; size; size--, data++)
		c = crc->table[0][(c ^ *data) & 0xff] ^ c >> 8;
	return ~c;
}

/* RFC 7011 §3.1; version 10, observation domain 0 */
static void block_put_header(struct wire *w, uint32_t size, uint32_t time, uint32_t sequence)
{
	wire_put_u16(w, 10);
	wire_put_u16(w, (uint16_t)size);
	wire_put_u32(w, time);
	wire_put_u32(w, sequence);
	wire_put_u32(w, 0);
}

void spool_block_put_template(uint8_t *p)
{
	struct wire w;

	wire_init(&w, p, BLOCK_TEMPLATE);
	block_put_header(&w, BLOCK_TEMPLATE, 0, 0);
	wire_put_u16(&w, 2); /* RFC 7011 §3.3.2: template set */
	wire_put_u16(&w, BLOCK_TEMPLATE - 16);
	wire_put_u16(&w, TEMPLATE_ID);
	wire_put_u16(&w, 1);
	wire_put_u16(&w, 0x8000u | ELEMENT);
	wire_put_u16(&w, RECORD);
	wire_put_u32(&w, ENTERPRISE);
}

void spool_block_put(uint8_t *p, const struct spool_crc *crc, const struct spool_block *b, uint32_t sequence,
		     const uint8_t *message)
{
	struct wire w;
	uint8_t time[4] = {0};

	if (b->size >= 16 && message[0] == 0 && message[1] == 10)
		memcpy(time, message + 4, sizeof(time));
	wire_init(&w, p, BLOCK_HEAD);
	block_put_header(&w, BLOCK_HEAD, 0, sequence);
	memcpy(p + 4, time, sizeof(time));
	wire_put_u16(&w, TEMPLATE_ID);
	wire_put_u16(&w, 4 + RECORD);
	wire_put_bytes(&w, MAGIC, 8);
	wire_put_u64(&w, b->number);
	wire_put_u32(&w, b->size);
	wire_put_u32(&w, b->records);
	wire_put_u64(&w, b->packets);
	wire_put_u64(&w, b->octets);
	wire_put_u32(&w, b->crc);
	wire_put_u32(&w, spool_crc(crc, p, BLOCK_HEAD - 4));
}

static uint64_t block_load(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v = v << 8 | p[i];
	return v;
}

bool spool_block_get(const uint8_t *p, const struct spool_crc *crc, struct spool_block *b)
{
	const uint8_t *r = p + RECORD_AT;

	if (memcmp(r, MAGIC, 8) != 0 || block_load(p, 4) != (10u << 16 | BLOCK_HEAD) ||
	    block_load(r + 44, 4) != spool_crc(crc, p, BLOCK_HEAD - 4))
		return false;
	*b = (struct spool_block){.number = block_load(r + 8, 8),
				  .size = (uint32_t)block_load(r + 16, 4),
				  .records = (uint32_t)block_load(r + 20, 4),
				  .packets = block_load(r + 24, 8),
				  .octets = block_load(r + 32, 8),
				  .crc = (uint32_t)block_load(r + 40, 4)};
	return b->size && b->size <= SPOOL_MESSAGE_MOST && b->number < BLOCK_NUMBER_MOST;
}
