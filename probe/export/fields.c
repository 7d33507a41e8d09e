/*
 * fields: --fields and the standard list become templates.
 *
 * A list names elements by IANA name or number, separated by commas; "standard" stands for the standard list.
 * An element that only one family has brings its counterpart into the other family's template (8 and 27, 12
 * and 28, 32 and 139), and one that only one format has brings its counterpart there (22 and 152, 21 and
 * 153). Elements that nothing is known of (MAC addresses without Ethernet, direction of a savefile) are left
 * out.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "flow_templates.h"
#include "format.h"

struct field_choice {
	const struct ie *ie;
	uint8_t protocols; /* in which it stands */
};

static const struct field_choice standard[] = {
#define FIELD(name, p) {&ie_table[IE_##name], p},
#include "pitot/fields.def"
};
#define STANDARD (sizeof(standard) / sizeof(standard[0]))

/* The row for this element in a template of these groups and protocol, or NULL. */
static const struct ie *fields_placed(const struct ie *ie, unsigned groups, enum ie_protocol protocol)
{
	if ((ie->group & groups) && (ie->protocols & protocol))
		return ie;
	ie = ie_counterpart(ie);
	return ie && (ie->group & groups) && (ie->protocols & protocol) ? ie : NULL;
}

/* A list is walked element by element; "standard" stands for those of fields.def. */
typedef int field_fn(void *ctx, const struct ie *ie, bool by_default, struct diag *diag);

static int fields_each_standard(field_fn *each, void *ctx, enum ie_protocol protocol, struct diag *diag)
{
	int r = 0;

	for (unsigned i = 0; i < STANDARD && r == 0; i++)
		if (standard[i].protocols & protocol)
			r = each(ctx, standard[i].ie, true, diag);
	return r;
}

/* list NULL: the standard one. */
static int fields_each(const char *list, field_fn *each, void *ctx, enum ie_protocol protocol,
		       struct diag *diag)
{
	if (!list)
		return fields_each_standard(each, ctx, protocol, diag);
	for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		const struct ie *ie;
		unsigned n;
		int r;

		at += strspn(at, " \t");
		n = (unsigned)strcspn(at, ", \t");
		if (n == 0)
			return diag_set(diag, -EINVAL,
					"--fields: an element is missing before or after a comma");
		ie = ie_find(at, n);
		if (n == 8 && strncmp(at, "standard", 8) == 0)
			r = fields_each_standard(each, ctx, protocol, diag);
		else if (ie)
			r = each(ctx, ie, false, diag);
		else
			r = diag_set(diag, -EINVAL,
				     "--fields: no element is called \"%.*s\"; see --list-fields", (int)n,
				     at);
		if (r)
			return r;
	}
	return 0;
}

enum { TUNNELS = IE_GROUP_TUNNEL | IE_GROUP_OUTER4 | IE_GROUP_OUTER6 };

struct adding {
	struct template *t;
	unsigned groups; /* that are known of the template's flows */
	bool opens_tunnels;
	bool of_outer; /* which are added now: the outer packet's, or all others */
};

static int fields_add_field(void *ctx, const struct ie *ie, bool by_default, struct diag *diag)
{
	struct adding *a = ctx;
	bool of_outer = ie->group & TUNNELS;

	if (of_outer && !a->opens_tunnels)
		return diag_set(
			diag, -EINVAL,
			"--fields: %s is known of tunnels that are opened: say which with --decapsulate",
			ie->name);
	/* in the standard list each row stands by itself: both families and formats are in it */
	if (of_outer != a->of_outer || (by_default && !(ie->group & a->groups)))
		return 0;
	ie = fields_placed(ie, a->groups, (enum ie_protocol)a->t->protocol);
	if (!ie || template_has(a->t, ie))
		return 0;
	if (template_add(a->t, ie, 0) == TEMPLATE_E_FULL)
		return diag_set(diag, -EINVAL, "--fields: more than %d elements; name fewer",
				TEMPLATE_FIELDS);
	return 0; /* or records have not its block */
}

static int fields_add_block(void *ctx, const struct ie *ie, bool by_default, struct diag *diag)
{
	uint32_t *blocks = ctx;

	(void)diag;
	if (!by_default)
		*blocks |= ie_blocks(ie);
	else if (ie->block != IE_CORE)
		*blocks |= UINT32_C(1) << ie->block;
	return 0;
}

uint32_t fields_blocks(const char *list)
{
	struct diag none;
	uint32_t blocks = 0;

	(void)fields_each(list, fields_add_block, &blocks, P9 | PX, &none);
	return blocks;
}

uint32_t exporter_blocks(const struct exporter_config *config)
{
	/* what a host knows now says nothing of the packets in a savefile */
	uint32_t known = config->offline ? BLOCKS_OF_PACKETS : BLOCKS_OF_PACKETS | BLOCKS_OF_HOST;

	for (unsigned i = 0; i < config->n_collectors; i++)
		if (collector_format(config->collectors[i].format)->has_fields)
			return fields_blocks(config->fields) & known;
	return 0;
}

static unsigned fields_groups(unsigned mask, const struct exporter_config *config)
{
	return IE_GROUP_BASE | (config->has_ethernet ? IE_GROUP_ETHERNET : 0) |
	       (config->has_direction ? IE_GROUP_DIRECTION : 0) |
	       (config->sampling.n_selectors ? IE_GROUP_SELECTOR : 0) |
	       (mask & FLOW_MASK_IP6 ? IE_GROUP_IP6 : IE_GROUP_IP4) |
	       (mask & FLOW_MASK_OUTER4 ? IE_GROUP_TUNNEL | IE_GROUP_OUTER4 : 0) |
	       (mask & FLOW_MASK_OUTER6 ? IE_GROUP_TUNNEL | IE_GROUP_OUTER6 : 0);
}

int fields_template(struct template *t, unsigned mask, enum ie_protocol protocol, bool with_id,
		    const struct exporter_config *config, struct diag *diag)
{
	struct adding a = {.t = t,
			   .groups = fields_groups(mask, config),
			   .opens_tunnels = config->opens_tunnels,
			   .of_outer = true};
	int r;

	template_init(t, (uint16_t)(FLOW_TEMPLATE_ID + mask), protocol, &config->layout);
	r = fields_each(config->fields, fields_add_field, &a, protocol, diag);
	a.of_outer = false; /* RFC 7011 §8: of two of a kind the outer packet's stands first */
	if (r == 0)
		r = fields_each(config->fields, fields_add_field, &a, protocol, diag);
	if (r == 0 && t->n_fields == 0)
		r = diag_set(diag, -EINVAL,
			     "--fields %s: none of these is known of %s flows here; add others",
			     config->fields, mask & FLOW_MASK_IP6 ? "IPv6" : "IPv4");
	if (r == 0 && with_id)
		r = fields_add_field(&a, &ie_table[IE_flowId], false, diag);
	return r;
}

int exporter_check_fields(const char *fields, bool opens_tunnels, struct diag *diag)
{
	struct exporter_config config = {.fields = fields,
					 .opens_tunnels = opens_tunnels,
					 .has_ethernet = true,
					 .has_direction = true};
	struct template t;
	int r = 0;

	record_layout_init(&config.layout, (UINT32_C(1) << BLOCKS) - 1, 0);
	for (unsigned mask = 0; mask <= FLOW_MASK_IP6 && r == 0; mask++)
		r = fields_template(&t, mask, PX, false, &config, diag);
	return r;
}

/* "4"; "2/1": in IPFIX, in NetFlow v9. */
static void fields_list_octets(char *text, size_t size, const struct ie *ie)
{
	char ipfix[12] = "varies";

	if (ie->length != IE_VARIABLE)
		snprintf(ipfix, sizeof(ipfix), "%u", ie->length);
	if ((ie->protocols & (P9 | PX)) == (P9 | PX) && ie->length9 != ie->length)
		snprintf(text, size, "%s/%u", ipfix, ie->length9);
	else
		snprintf(text, size, "%s", ipfix);
}

void exporter_list_fields(void (*print)(void *ctx, const char *line), void *ctx)
{
	char line[128];

	snprintf(line, sizeof(line), "%6s  %-28s %-9s %-14s %s", "number", "name", "octets", "formats", "in");
	print(ctx, line);
	for (unsigned i = 0; i < IE_COUNT; i++) {
		const struct ie *ie = &ie_table[i];
		char octets[24];

		if (!(ie->protocols & (P9 | PX)))
			continue;
		fields_list_octets(octets, sizeof(octets), ie);
		snprintf(line, sizeof(line), "%6u  %-28s %-9s %-14s %s", ie->id, ie->name, octets,
			 !(ie->protocols & PX)	 ? "netflow9"
			 : !(ie->protocols & P9) ? "ipfix"
						 : "netflow9 ipfix",
			 ie->block != IE_CORE && BLOCKS_OF_HOST >> ie->block & 1
				 ? (ie->group == IE_GROUP_IP4	? "IPv4, live"
				    : ie->group == IE_GROUP_IP6 ? "IPv6, live"
								: "all, live")
			 : ie->group == IE_GROUP_IP4	   ? "IPv4"
			 : ie->group == IE_GROUP_IP6	   ? "IPv6"
			 : ie->group == IE_GROUP_ETHERNET  ? "all, on Ethernet"
			 : ie->group == IE_GROUP_DIRECTION ? "all, live"
			 : ie->group == IE_GROUP_SELECTOR  ? "all, --polite"
			 : ie->group == IE_GROUP_TUNNEL	   ? "tunnels"
			 : ie->group == IE_GROUP_OUTER4	   ? "tunnels over IPv4"
			 : ie->group == IE_GROUP_OUTER6	   ? "tunnels over IPv6"
							   : "all");
		print(ctx, line);
	}
}
