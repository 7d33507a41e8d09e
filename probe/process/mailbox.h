/*
 * mailbox: carries commands (commands.def) from control to one other process, and the answers back.
 *
 * The process looks between two batches.  Control alone asks.  An answer is waited for MAILBOX_ANSWER_NS at
 * most; until then, or if the process has ended meanwhile, that is a positive outcome: a command that was not
 * answered may still be run later, one of a process that has ended is not, and the process that comes in its
 * place starts with what is in force then.
 *
 * Descriptors go beside a command, over a socket, which the process may poll.  Over the same it is woken when
 * it has said that it sleeps, so that a command is seen at once.
 */
#ifndef MAILBOX_H
#define MAILBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "account.h"
#include "pitot/capture.h"
#include "pitot/clock.h"
#include "pitot/counters.h"
#include "pitot/diag.h"
#include "pitot/exporter.h"
#include "pitot/flow_filter.h"
#include "pitot/gate.h"

#define MAILBOX_ANSWER_NS NS_PER_SEC

enum { MAILBOX_SLOTS = 16, MAILBOX_FDS = 3 };
enum { MAILBOX_E_LATE = 1, MAILBOX_E_GONE = 2 };

/* ---- arguments and replies: plain structs, no addresses */

struct command_none {
	uint32_t nothing;
};
struct metering_timeouts {
	uint64_t active_ns, inactive_ns, tcp_end_ns;
};
struct command_adopt {
	uint32_t place;
	struct capture_facts facts;
};
struct command_rate {
	uint32_t records;
};

struct command_stop {
	uint32_t drop; /* flows in the table: no record of them is handed on */
};
struct command_gather {
	uint32_t on;
};

/* Flows of the table that a filter selects: as many as one look may take between two batches. */
enum { COMMAND_LOOKS = 128, COMMAND_FLOWS_MAX = 40 };
struct command_flows {
	struct flow_filter filter;
	uint32_t cursor; /* 0 at first; then as the answer says */
	uint32_t drop;	 /* EXPIRE: without a record */
};
/* A flow as it is now: what a record has, but for what is of no use to somebody who looks on. */
struct command_flow {
	struct flow_key key;
	uint32_t ingress, egress;
	uint16_t vlan, tcp_flags;
	uint64_t packets, octets;
	uint64_t first_ns, last_ns;
	uint8_t tos, direction;
	uint8_t spare[6];
};
struct command_flows_seen {
	uint64_t now_ns; /* the metering clock */
	uint32_t cursor, more;
	uint32_t looked; /* flows */
	uint32_t n;	 /* of them, selected */
	struct command_flow flows[COMMAND_FLOWS_MAX];
};
struct command_flows_ended {
	uint32_t cursor, more;
	uint32_t ended;
	uint32_t no_room; /* the way to the exporting process is full: ask again later */
};

/* Handing over to another process: what the memory that goes with a command must hold, at most. */
struct command_frozen {
	uint64_t octets;
	uint32_t frozen; /* nothing is read, or sent, until it is told to go on or to let go */
	uint32_t spare;
};
struct command_hand_over {
	uint64_t octets;
};
struct command_handed {
	uint64_t octets; /* written; 0: not all was */
	uint32_t n_fds;	 /* on their way over the mailbox's sockets */
	uint32_t spare;
};
struct command_settle {
	uint64_t by_ns; /* monotonic */
};
struct command_release {
	uint64_t taken; /* bit i is collector i */
};

struct command_template {
	uint32_t collector; /* its number */
	uint32_t number;    /* of its templates: from 0 */
};

enum command_kind {
#define COMMAND(NAME, name, process, argument, reply) COMMAND_##NAME,
#include "commands.def"
#undef COMMAND
	COMMANDS
};
union command_argument {
#define COMMAND(NAME, name, process, argument, reply) argument name;
#include "commands.def"
#undef COMMAND
};
union command_reply {
#define COMMAND(NAME, name, process, argument, reply) reply name;
#include "commands.def"
#undef COMMAND
};

/* ---- the shared part */

struct shared_mailbox {
	struct gate answer;		     /* control sleeps here */
	_Alignas(64) _Atomic uint32_t asked; /* control writes; slot n is that of command n */
	_Alignas(64) _Atomic uint32_t answered;
	_Atomic bool asleep; /* the process is in poll(): a command has to wake it by its socket */
	struct mailbox_slot {
		uint32_t kind;
		int32_t result;
		union command_argument argument;
		union command_reply reply;
	} slots[MAILBOX_SLOTS];
};

/* ---- an end: control's and the process's are two copies of this */

enum mailbox_role { MAILBOX_metering, MAILBOX_exporting };

struct mailbox {
	struct shared_mailbox *box;
	enum mailbox_role role;
	struct gate *wake;	  /* where the process may sleep; NULL: it looks often enough */
	const _Atomic bool *gone; /* the process has ended */
	int send_fd, receive_fd;  /* a pair of sockets, for descriptors in both directions */
};

int mailbox_new(struct mailbox *m, struct shared_mailbox *box, enum mailbox_role role, struct gate *wake,
		const _Atomic bool *gone, struct diag *diag);
void mailbox_close(struct mailbox *m);

/* The process: runs what was asked since it last looked. */
void mailbox_run(struct mailbox *m, void *process);
/* Whether there is anything to run. */
static inline bool mailbox_waiting(const struct mailbox *m)
{
	return atomic_load(&m->box->asked) != atomic_load_explicit(&m->box->answered, memory_order_relaxed);
}
/*
 * Around a poll() of the process, which polls receive_fd, too, and says whether it can be read.  False: there
 * is a command; it must not sleep, and has not to wake up.
 */
bool mailbox_fall_asleep(struct mailbox *m);
void mailbox_wake_up(struct mailbox *m, bool readable);
/* The process, within a command: the descriptors that came with it, or -ENOENT. */
int mailbox_take_fds(struct mailbox *m, int fds[MAILBOX_FDS], unsigned *n);
/* The memory that came with it, octets long, to be written; 0, or negative errno.  Its descriptors are
 * closed. */
int mailbox_take_memory(struct mailbox *m, uint64_t octets, void **memory);

/* The process: descriptors for control, which go beside the answer and stay the caller's. */
int mailbox_give_fds(const struct mailbox *m, const int *fds, unsigned n);
/* Control: the next n of them; 0, or negative errno, and none. */
int mailbox_get_fds(const struct mailbox *m, int *fds, unsigned n);
void mailbox_drop_fds(const struct mailbox *m);

/* Control, below the functions of the rows.  0, MAILBOX_E_GONE, MAILBOX_E_LATE, or negative errno. */
int mailbox_tell(struct mailbox *m, enum command_kind kind, const void *argument, size_t size, const int *fds,
		 unsigned n_fds);
int mailbox_ask(struct mailbox *m, enum command_kind kind, const void *argument, size_t size, void *reply,
		size_t reply_size);

#define COMMAND(NAME, name, process, argument, reply)                                                        \
	static inline int command_tell_##name(struct mailbox *m, const argument *a)                          \
	{                                                                                                    \
		return mailbox_tell(m, COMMAND_##NAME, a, sizeof(*a), NULL, 0);                              \
	}                                                                                                    \
	static inline int command_send_##name(struct mailbox *m, const argument *a, const int *fds,          \
					      unsigned n_fds)                                                \
	{                                                                                                    \
		return mailbox_tell(m, COMMAND_##NAME, a, sizeof(*a), fds, n_fds);                           \
	}                                                                                                    \
	static inline int command_ask_##name(struct mailbox *m, const argument *a, reply *answer)            \
	{                                                                                                    \
		return mailbox_ask(m, COMMAND_##NAME, a, sizeof(*a), answer, sizeof(*answer));               \
	}
#include "commands.def"
#undef COMMAND

/* The functions that the processes have. */
#define COMMAND(NAME, name, process, argument, reply)                                                        \
	struct process;                                                                                      \
	int process##_on_##name(struct process *p, const argument *a, reply *answer);
#include "commands.def"
#undef COMMAND

#endif
