/*
 * spool: a bounded store-and-forward queue of messages for one reliable collector.
 *
 * A message is appended, handed to the kernel (sent), acknowledged by the peer's kernel (acked) and, once it
 * is behind the replay window, forgotten.  Until then it can become unsent again: an acknowledgement says
 * that the peer's kernel has the octets, not that the collector ever read them.
 *
 * Without dir the queue is memory_octets of memory.  With dir every message is also written to a segment file
 * in dir/name/ when it is appended (write(2): it survives kill -9 of the process from then on); memory then
 * is a cache of the newest messages, and where they stay while the disk takes nothing.  A failing disk never
 * fails a call: the error is counted, the disk is tried again each second, and what memory cannot hold is
 * dropped, oldest first.  Nothing here waits for the disk: write-back is started from spool_tick() once a
 * second (sync_file_range) and only spool_close() waits for it.  So a power cut may cost what the kernel had
 * not written yet; a crash of the process costs nothing.
 *
 * Files that somebody else removes while they are used are noticed within a second or so, and at the end:
 * what memory still has of them is written again, the rest is dropped.
 *
 * A segment is an IPFIX file (RFC 5655): a template message, the preamble if there is one, and before each
 * message a message of one data record (an enterprise-specific octetArray) that holds number, sizes and
 * CRC-32C.  Damaged blocks are skipped and counted, a torn tail is cut and counted, the rest is sent.
 *
 *   appended + recovered = done + dropped + held          (messages, records, packets and octets)
 *
 * One thread drives a spool.
 */
#ifndef PITOT_SPOOL_H
#define PITOT_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pitot/diag.h"
#include "pitot/totals.h"

#define SPOOL_MESSAGE_MOST 65535u	    /* octets in a message */
#define SPOOL_LEAST	   UINT64_C(262144) /* less max_octets or memory_octets is taken as this */
#define SPOOL_WINDOW_MOST  65536u	    /* messages sent and not forgotten */

struct spool_config {
	const char *dir;	/* made (0700) if it is missing; NULL: memory only */
	const char *name;	/* of the collector: a file name, and not one that begins with a dot */
	uint64_t max_octets;	/* of the segment files; ignored without dir */
	uint64_t memory_octets; /* with dir at most half of max_octets is used */
	uint64_t replay_octets; /* the replay window: what was sent last reaches back at least so far ... */
	uint64_t replay_ns;	/* ... and at least so long; both 0: acked is forgotten */
	/*
	 * May be NULL.  Messages with these numbers are lost, [first, last]: dropped, or not readable any
	 * more, or at the end in memory only.  May tell of one again.  Calls nothing of the spool.
	 */
	void (*lost)(void *context, uint64_t first, uint64_t last);
	void *context;
};

struct spool_totals {
	uint64_t messages;
	struct totals flows; /* in them, as told to spool_append() */
};

struct spool_stats {
	struct spool_totals appended;  /* taken by spool_append() */
	struct spool_totals recovered; /* left by an earlier run and found again */
	struct spool_totals sent;      /* handed to the kernel, each time */
	struct spool_totals replayed;  /* of sent: those that may have been sent before */
	struct spool_totals acked;     /* each time */
	struct spool_totals done;      /* acked and forgotten */
	struct spool_totals dropped;   /* left for want of room, or unreadable, and not known to be read */
	struct spool_totals dropped_recovered; /* of those: messages of an earlier run */
	struct spool_totals missing; /* of those dropped: unsent in files that somebody else removed */
	uint64_t missing_files;
	struct spool_totals held;   /* now in the queue: unsent, and in the window */
	struct spool_totals unsent; /* now: of held, those that wait to be sent */
	uint64_t memory_octets;	    /* used now */
	uint64_t disk_octets;	    /* used now: segment files */
	uint64_t disk_errors;	    /* failed system calls on the directory */
	int last_error;		    /* of them; errno, 0 none */
	bool degraded;		    /* dir is set, but new messages are kept in memory only */
	uint64_t torn_octets;	    /* cut or skipped in files of an earlier run */
	uint64_t head; /* messages with numbers below are forgotten or lost, but for one that is lent */
	uint64_t tail; /* the number that the next message gets */
};

struct spool_message {
	const uint8_t *data;
	size_t size;
	uint32_t records;
	uint64_t packets, octets;
	uint64_t number; /* grows by one with each message, across restarts too; 0: a preamble */
	bool replayed;	 /* may have been sent before */
	bool preamble;	 /* templates of the messages that follow: see spool_set_preamble() */
};

struct spool;

/*
 * Finds what an earlier run left: all of it is unsent.  0 with an empty sentence; 0 with a sentence worth a
 * warning (something was recovered or cut, or the disk cannot be written: full, read-only, and memory alone
 * is used); or negative errno: the directory cannot be used (missing rights, not ours, another pitot has it)
 * or no memory.
 */
int spool_open(struct spool **sp, const struct spool_config *config, struct diag *diag);

/*
 * Optional, before the first append of a run: the message of (options) templates that this run's messages
 * need. Each segment begins with it; and spool_next() hands it out (preamble, no records) before the first
 * message of a session, and again where a message needs other templates than those handed out last: an
 * earlier run's messages come with their own.  0, -EMSGSIZE, or -EBUSY: this run's messages have another one
 * already.
 */
int spool_set_preamble(struct spool *s, const void *message, size_t size);

/*
 * Keeps a message of flow records, their packets and octets.
 *   0           it is kept and nothing was lost for it
 *   -ENOSPC     it is kept, and the oldest messages were dropped for it (counted in dropped)
 *   -EMSGSIZE   it is empty or larger than SPOOL_MESSAGE_MOST: not kept, and not counted anywhere
 */
int spool_append(struct spool *s, const void *message, size_t size, uint32_t records, uint64_t packets,
		 uint64_t octets);

/*
 * The oldest unsent message; the same again until spool_mark_sent() or spool_rewind(), and as long it stays
 * readable, whatever else is called.  NULL: none, or SPOOL_WINDOW_MOST are sent and the oldest is not acked
 * yet.
 */
const struct spool_message *spool_next(struct spool *s);
/*
 * The message from spool_next() is handed to the kernel whole; its last octet ends at this offset of the
 * session's stream, which counts from 0 and includes whatever else was written.  Without a message lent:
 * nothing.
 */
void spool_mark_sent(struct spool *s, uint64_t session_offset_end, uint64_t now_ns);
/* The peer's kernel acknowledged the session's stream up to here. */
void spool_acked(struct spool *s, uint64_t session_offset);
/*
 * The session is over.  clean: the peer read all that it acknowledged; what it did not becomes unsent again,
 * the rest is forgotten.  Else all that is not forgotten becomes unsent again: the replay window too.
 */
void spool_rewind(struct spool *s, bool clean);
/*
 * Forgets what is acked, has replay_octets of messages sent behind it and was sent replay_ns ago; starts
 * write-back; tries a failed disk again.  now_ns is monotonic, of the same clock as in spool_mark_sent().
 * Every 100 ms or so.
 */
void spool_tick(struct spool *s, uint64_t now_ns);
/* Looks at once whether somebody else has removed files; spool_close() does, too. */
void spool_check(struct spool *s);
/*
 * With dir everything not forgotten stays there for the next run, without it is gone.  A session that ended
 * in good order is told by spool_rewind(s, true) before.  NULL is fine.
 */
void spool_close(struct spool *s);
void spool_get_stats(const struct spool *s, struct spool_stats *stats);

#endif
