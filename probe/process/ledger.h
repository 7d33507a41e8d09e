/*
 * ledger: every number that pitot tells of itself, taken at one moment (pitot(8), LEDGER).
 *
 * The rows are in ledger.def.  A struct ledger is a copy: reports walk it and ask nobody.
 */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "control_socket.h"
#include "exporting.h"
#include "interfaces.h"
#include "polite.h"
#include "pitot/stats.h"

/* What the numbers are taken from. */
struct report {
	struct metering_stats metering; /* sum over all metering processes */
	struct exporting_stats exporting;
	uint64_t duration_ns;
	struct interfaces_numbers interfaces;
	struct processes_numbers {
		uint64_t metering_exits, metering_restarts, exporting_exits, exporting_restarts;
		uint64_t helper_exits, helper_restarts;
	} processes;
	struct control_socket_stats control;
	const struct polite *polite; /* NULL: pitot is not polite */
	bool final;		     /* everything was flushed: nothing may be under way */
};

#define LEDGER_UNKNOWN UINT64_MAX

enum ledger_kind { LEDGER_COUNTER, LEDGER_GAUGE };
enum ledger_unit { LEDGER_PACKETS, LEDGER_OCTETS, LEDGER_FLOWS, LEDGER_NUMBER, LEDGER_SECONDS };

struct ledger_row {
	const char *group;
	const char *family; /* "" none */
	const char *label;  /* of the family's members; NULL: none */
	const char *name;
	enum ledger_kind kind;
	enum ledger_unit unit;
	const char *metric;
	const char *help;
};

enum ledger_number {
#define LEDGER(group, name, kind, unit, value, metric, help) LEDGER_##group##_##name,
#define LEDGER_OF(group, family, label, name, kind, unit, value, metric, help)                               \
	LEDGER_##group##_##family##_##name,
#define COLLECTOR(family, name, kind, unit, value, metric, help)
#define BALANCE(text, left, right)
#include "ledger.def"
	LEDGER_NUMBERS
};

enum ledger_collector_number {
#define LEDGER(group, name, kind, unit, value, metric, help)
#define LEDGER_OF(group, family, label, name, kind, unit, value, metric, help)
#define COLLECTOR(family, name, kind, unit, value, metric, help) LEDGER_COLLECTOR_##family##_##name,
#define BALANCE(text, left, right)
#include "ledger.def"
	LEDGER_COLLECTOR_NUMBERS
};

extern const struct ledger_row ledger_rows[LEDGER_NUMBERS];
extern const struct ledger_row ledger_collector_rows[LEDGER_COLLECTOR_NUMBERS];

struct ledger_collector {
	const char *url;
	const char *state;	/* "up" ... */
	const char *last_error; /* NULL: there was none; points into the report that was taken */
	uint64_t values[LEDGER_COLLECTOR_NUMBERS];
};

struct ledger {
	uint64_t duration_ns;
	bool final;
	bool balanced;		/* every equation of ledger.def holds */
	const char *unbalanced; /* the first one that does not; NULL */
	uint64_t values[LEDGER_NUMBERS];
	unsigned n_collectors;
	struct ledger_collector collectors[EXPORTING_COLLECTORS_MAX];
};

/* The report must outlive the ledger. */
void ledger_take(struct ledger *l, const struct report *r);

/* The sum of a family's members: "packets", "ignored". */
uint64_t ledger_family(const struct ledger *l, const char *group, const char *family);

/* Two metering processes' numbers become one's. */
void ledger_add(struct metering_stats *sum, const struct metering_stats *one);

/* What the exporting process has to know of the metering processes. */
struct export_process_facts ledger_facts(const struct metering_stats *sum, bool polite);

#endif
