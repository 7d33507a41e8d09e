/*
 * metering_live: a source that captures interfaces, all at once.
 *
 * Interfaces come and go: a place has a capture or none.  The capture of an interface that is gone
 * (CAPTURE_E_GONE) leaves its place, with everything metered that it had; another one comes by COMMAND_ADOPT.
 */
#ifndef METERING_LIVE_H
#define METERING_LIVE_H

#include "account.h"
#include "pitot/capture.h"
#include "pitot/decode.h"
#include "selection.h"
#include "shared.h"
#include "source.h"

struct metering_live_config {
	const struct shared *shared;
	unsigned number; /* of the thread */
	const struct capture_plan *const *plans;
	unsigned n_places;
	const struct decode_config *decode;
	size_t packet_size;
	struct fragment_table *fragments; /* NULL: they are not tracked; the source's from now on */
	const struct own_flows *own;
	struct selection *selection;
	struct metering_stats *stats;
	const bool *paused;	 /* stop-gather: what comes is counted and nothing else */
	bool polite;		 /* what is drawn follows shared_control.polite */
	struct mailbox *mailbox; /* which wakes who sleeps */
};

int metering_live_new(struct source **sp, const struct metering_live_config *config, struct diag *diag);

/* The capture is the source's from here on, whatever happens. */
int metering_live_set_capture(struct source *s, unsigned place, struct capture *c, struct diag *diag);
const struct capture *metering_live_capture(const struct source *s, unsigned place);
/* A capture of that socket, which is gone whatever comes out. */
int metering_live_adopt(struct source *s, unsigned place, struct capture_descriptor *socket,
			struct diag *why);
bool metering_live_uses_libpcap(const struct source *s);

/*
 * Handing over to another process (hand_over.c), which has the captures and fragments as sections
 * (take_over.h), and the sockets: they stay ours until metering_live_let_go(), after which there is no
 * capture any more.
 */
size_t metering_live_hand_over_octets(const struct source *s);
unsigned metering_live_hand_over(struct source *s, struct sections_writer *w, int *fds);
/* It did not take over, and may have changed the sockets. */
int metering_live_resume(struct source *s, struct diag *why);
void metering_live_let_go(struct source *s);
/* Of another process: what it had of fragments. */
int metering_live_take_fragments(struct source *s, struct section *from, const struct flow_points *points);

#endif
