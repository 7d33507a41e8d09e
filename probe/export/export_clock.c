/* export_clock: see export_clock.h. */
#include "export_clock.h"

#define HOUR_MS	     (INT64_C(3600) * 1000)
#define DAY_MS	     (24 * HOUR_MS)
#define MARGIN_MS    HOUR_MS		 /* boot before the start: flows may begin a little earlier */
#define STEP_MOST_MS INT64_C(0x7fffffff) /* of sysUptime from one header to the next */
#define STEP_MS	     500		 /* wall against monotonic: more than slewing is a step */

void export_clock_init(struct export_clock *c, enum export_clock_kind kind, bool offline,
		       uint64_t start_monotonic_ns)
{
	*c = (struct export_clock){.kind = kind,
				   .offline = offline,
				   .start_monotonic_ns = start_monotonic_ns,
				   .sent_uptime_ms = offline ? DAY_MS : 0, /* room for what began earlier */
				   .fresh = true};
}

/* What a header can say: the instant itself, or the end of its second. */
static int64_t clock_header_time(const struct export_clock *c, int64_t ms)
{
	return c->kind == EXPORT_CLOCK_UPTIME ? ms : (ms + 999) / 1000 * 1000;
}

static int64_t clock_elapsed_ms(const struct export_clock *c, const struct clock_time *now)
{
	return (int64_t)(now->monotonic_ns - c->start_monotonic_ns) / (int64_t)NS_PER_MSEC + MARGIN_MS;
}

static int64_t clock_ms(uint64_t ns)
{
	return (int64_t)(ns / NS_PER_MSEC);
}

/* As far as it can be shown. */
static int64_t clock_duration(const struct flow_record *r)
{
	int64_t d = clock_ms(r->last_ns) - clock_ms(r->first_ns);

	/* a second less: the header may say the end of the last one's second */
	return d < EXPORT_CLOCK_SPAN_MS - 1000 ? d : EXPORT_CLOCK_SPAN_MS - 1000;
}

/* Do these two lie on both sides of a wrap of the 32-bit sysUptime?  Some collectors then compute wrong
 * times. */
static bool clock_wraps(int64_t first_uptime, int64_t uptime)
{
	return first_uptime >> 32 != uptime >> 32;
}

/* Offline: is r on the line that boot and the last header draw, together with what the message has? */
static bool clock_on_line(const struct export_clock *c, const struct flow_record *r)
{
	int64_t last = clock_ms(r->last_ns), first = last - clock_duration(r);
	int64_t header = clock_header_time(c, last),
		oldest = c->fresh || first < c->oldest_ms ? first : c->oldest_ms;

	if (header < c->header_ms)
		header = c->header_ms;
	return first >= c->boot_ms && header - oldest <= EXPORT_CLOCK_SPAN_MS &&
	       header - c->boot_ms - c->sent_uptime_ms <= STEP_MOST_MS &&
	       (c->may_wrap || !clock_wraps(oldest - c->boot_ms, header - c->boot_ms));
}

static bool clock_stepped(const struct export_clock *c, const struct clock_time *now)
{
	int64_t moved = clock_ms(now->realtime_ns) - clock_elapsed_ms(c, now) - c->offset_ms;

	return moved > STEP_MS || moved < -STEP_MS;
}

static inline bool clock_fits(const struct export_clock *c, const struct flow_record *r,
			      const struct clock_time *now)
{
	if (c->kind == EXPORT_CLOCK_SECONDS)
		return true;
	if (c->offline)
		return !r || clock_on_line(c, r);
	return !clock_stepped(c, now);
}

bool export_clock_fits(const struct export_clock *c, const struct flow_record *r,
		       const struct clock_time *now)
{
	return clock_fits(c, r, now);
}

static void clock_live_line(struct export_clock *c, const struct clock_time *now)
{
	int64_t wall = clock_ms(now->realtime_ns), header = clock_header_time(c, wall);
	int64_t uptime = clock_elapsed_ms(c, now) + (header - wall);

	if (uptime < c->sent_uptime_ms)
		uptime = c->sent_uptime_ms;
	c->offset_ms = wall - clock_elapsed_ms(c, now);
	c->header_ms = header;
	c->boot_ms = header - uptime;
}

static void clock_offline_line(struct export_clock *c, const struct flow_record *r,
			       const struct clock_time *now)
{
	int64_t before = r ? clock_duration(r) + 1000 : 0; /* First, from a header at the end of its second */
	int64_t uptime = c->sent_uptime_ms + HOUR_MS + before;
	int64_t behind = (uptime >> 32 << 32) + HOUR_MS + before; /* the wrap, all of it */

	c->may_wrap = clock_wraps(uptime - before, uptime) && behind - c->sent_uptime_ms > STEP_MOST_MS;
	if (clock_wraps(uptime - before, uptime) && !c->may_wrap)
		uptime = behind;
	c->header_ms = clock_header_time(c, clock_ms(r ? r->last_ns : now->realtime_ns));
	c->boot_ms = c->header_ms - uptime;
}

void export_clock_begin(struct export_clock *c, const struct flow_record *r, const struct clock_time *now)
{
	c->fresh = true;
	c->oldest_ms = c->header_ms;
	if (c->kind == EXPORT_CLOCK_SECONDS) {
		if (c->offline && !r && !c->has_line)
			c->header_ms = clock_header_time(c, clock_ms(now->realtime_ns));
		c->has_line = true;
		return;
	}
	if (c->has_line && export_clock_fits(c, r, now))
		return;
	if (c->offline)
		clock_offline_line(c, r, now);
	else
		clock_live_line(c, now);
	c->oldest_ms = c->header_ms;
	c->has_line = true;
}

static inline void clock_add(struct export_clock *c, const struct flow_record *r,
			     const struct clock_time *now)
{
	int64_t header, first;

	if (c->offline && !r)
		return;
	header = clock_header_time(c, clock_ms(c->offline ? r->last_ns : now->realtime_ns));
	if (c->kind == EXPORT_CLOCK_SECONDS && !c->offline)
		header = clock_ms(now->realtime_ns); /* the running second: RFC 7011 §3.1 */
	if (header > c->header_ms)
		c->header_ms = header;
	if (c->offline) {
		first = clock_ms(r->last_ns) - clock_duration(r);
		if (c->fresh || first < c->oldest_ms)
			c->oldest_ms = first;
	}
	if (r)
		c->fresh = false;
}

void export_clock_add(struct export_clock *c, const struct flow_record *r, const struct clock_time *now)
{
	clock_add(c, r, now);
}

bool export_clock_take(struct export_clock *c, const struct flow_record *r, const struct clock_time *now)
{
	if (!clock_fits(c, r, now))
		return false;
	clock_add(c, r, now);
	return true;
}

struct export_clock_header export_clock_finish(struct export_clock *c)
{
	struct export_clock_header h = {0};

	if (c->kind == EXPORT_CLOCK_SECONDS) {
		if (c->header_ms / 1000 > c->sent_s) /* held after a step back: RFC 7011 §5.1, §8.2 */
			c->sent_s = c->header_ms / 1000;
		h.seconds = (uint32_t)c->sent_s;
		return h;
	}
	c->sent_uptime_ms = c->header_ms - c->boot_ms;
	h.seconds = (uint32_t)(c->header_ms / 1000);
	h.nanoseconds = (uint32_t)(c->header_ms % 1000) * (uint32_t)NS_PER_MSEC;
	h.uptime_ms = (uint32_t)c->sent_uptime_ms;
	c->fresh = true;
	return h;
}
