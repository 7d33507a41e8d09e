/*
 * sandbox: gives up what the process no longer needs, once everything is open.
 *
 * Each process enters its own, before its threads are started: another user, no capabilities, no way to gain
 * any, no core dumps, no debugger; Landlock for paths and TCP ports, and a list of system calls.  What the
 * kernel or the build lacks is no error: sandbox_missing() says it.
 *
 * The process that parses packets keeps what it has open and can open nothing more, and cannot send or write:
 * no socket, no file, no process, no program.  It enters its list of system calls last, by
 * sandbox_enter_calls(), when its threads have been started.
 *
 * A thread of name resolution that is at work while sandbox_enter() runs gets the user, the system call list
 * and "no new privileges" with the others; it ends by itself with the answer.
 */
#ifndef PITOT_SANDBOX_H
#define PITOT_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/diag.h"

enum sandbox_mode {
	SANDBOX_ON,
	SANDBOX_OFF, /* no Landlock, no list of system calls; user and capabilities are given up all the same
		      */
	SANDBOX_LOG, /* a call that is not on the list is logged by the kernel and let through */
};

enum sandbox_role {
	SANDBOX_CONTROL, /* starts the other ones again: what they may do is allowed to it, too */
	SANDBOX_EXPORTING,
	SANDBOX_METERING,
	SANDBOX_METERING_LIBPCAP, /* libpcap gives its ring back by a call of its own when it is closed */
	SANDBOX_ROLES
};

struct sandbox_config {
	enum sandbox_mode mode;
	enum sandbox_role role;
	/* Metering: the sockets to control, over which descriptors may be sent, and over nothing else. */
	const int *send_fds;
	unsigned n_send_fds;
	bool calls_later; /* the list of system calls comes by sandbox_enter_calls() */
	bool for_all;	  /* compile the lists of all roles, for the processes that will be forked */
	const char *user; /* USER[:GROUP], by name or number; NULL: root becomes "pitot", or "nobody" */
	bool stay_root;	  /* root stays uid 0, without capabilities */
	/* Files and directories that will be opened again, with everything below them; ended by NULL. */
	const char *const *read_paths;
	const char *const *write_paths; /* directories: files are made, renamed and removed there */
	/* TCP ports to connect to; port 53 is always one of them. */
	const uint16_t *tcp_ports;
	unsigned n_tcp_ports;
	uint16_t tcp_source_port; /* to bind to; 0: none */
};

struct sandbox;

/* Negative errno and a sentence when a privilege cannot be given up: the process must not go on. */
int sandbox_enter(struct sandbox **sp, const struct sandbox_config *config, struct diag *diag);
void sandbox_free(struct sandbox *s); /* the memory; nothing is undone */

/* The list of system calls of a role that was compiled, for all threads that there are.  NULL: nothing. */
int sandbox_enter_calls(const struct sandbox *s, enum sandbox_role role, struct diag *diag);

const char *sandbox_report(const struct sandbox *s);  /* one line: what holds */
const char *sandbox_missing(const struct sandbox *s); /* one line: what does not; "" when all does */

/* Whether user (see sandbox_config) would be another one than now, and who that is. */
struct sandbox_user {
	unsigned uid, gid;
	bool change;
	char name[64];
};
int sandbox_find_user(struct sandbox_user *user, const char *name, bool stay_root, struct diag *diag);

/*
 * A directory for files of this process (a spool), to be called before sandbox_enter(): it is made when it
 * does not exist, and belongs to the user then; one that exists is given to the user if it is root's and
 * empty. Positive outcome: it stays somebody else's.
 */
enum { SANDBOX_E_OWNER = 1 };
int sandbox_make_directory(const char *path, const struct sandbox_user *user, struct diag *diag);

/* For a helper process of one's own: nothing is left but the capabilities of the mask (bit n is CAP_ n). */
int sandbox_keep_capabilities(uint64_t mask, struct diag *diag);

/* The standard streams go to /dev/null. */
void sandbox_leave_terminal(void);

/* Tests only (PITOT_TEST_HOOKS): makes the call that PITOT_TEST_PARSER names, as a subverted parser would. */
void sandbox_test_call(void);
/* The same: one thread of the kind that PITOT_TEST_HANG names does not come back from here. */
void sandbox_test_hang(const char *kind);

#endif
