/* templated_hand_over: what a collector was told by this process, and what by the one that it takes over
 * from. */
#include "templated_internal.h"

struct handed_templates {
	uint32_t announced, since_templates;
	uint64_t next_template_ns, next_stats_ns;
	uint32_t n; /* templates that follow, each with its fields */
	uint32_t started;
};
/* Of a flow template: its mask; of options data: HANDED_OPTION and its number. */
enum { HANDED_OPTION = 0x100 };
struct handed_template {
	uint32_t which;
	uint16_t id, n_fields, n_scope, spare;
};
struct handed_field {
	uint32_t pen;
	uint16_t id, length;
};

/* Those that the collector knows. */
static const struct template *templated_handed_of(const struct templated *s, bool all, uint32_t which)
{
	if (which < FLOW_MASKS)
		return all || s->announced >> which & 1 ? s->flow.made[which] : NULL;
	if (which < HANDED_OPTION || which - HANDED_OPTION >= OPTION_SETS ||
	    !s->options[which - HANDED_OPTION].used)
		return NULL;
	return &s->options[which - HANDED_OPTION].template;
}

static void templated_hand_over_template(const struct template *t, uint32_t which, struct sections_writer *w)
{
	struct handed_template head = {
		.which = which, .id = t->id, .n_fields = t->n_fields, .n_scope = t->n_scope};

	sections_put(w, &head, sizeof(head));
	for (unsigned i = 0; i < t->n_fields; i++) {
		struct handed_field f = {t->fields[i].pen, t->fields[i].id, t->fields[i].length};

		sections_put(w, &f, sizeof(f));
	}
}

void templated_hand_over(const struct collector *c, struct sections_writer *w)
{
	const struct templated *s = templated_of(c);
	bool all = templated_is_spooled(c);
	struct handed_templates head = {.announced = s->announced,
					.since_templates = s->since_templates,
					.next_template_ns = s->next_template_ns,
					.next_stats_ns = s->next_stats_ns,
					.started = c->started};

	for (uint32_t which = 0; which < HANDED_OPTION + OPTION_SETS; which++)
		head.n += templated_handed_of(s, all, which) != NULL;
	sections_put(w, &head, sizeof(head));
	for (uint32_t which = 0; which < HANDED_OPTION + OPTION_SETS; which++)
		if (templated_handed_of(s, all, which))
			templated_hand_over_template(templated_handed_of(s, all, which), which, w);
}

/* The same template here?  NULL: it is none, or another one. */
static const struct template *templated_take_template(struct templated *s, struct section *from,
						      uint32_t *which)
{
	struct handed_template head;
	const struct template *t = NULL;
	bool same;

	if (!section_get(from, &head, sizeof(head)))
		return NULL;
	*which = head.which;
	if (head.which < FLOW_MASKS)
		t = flow_templates_make(&s->flow, head.which);
	else
		t = templated_handed_of(s, true, head.which);
	same = t && t->id == head.id && t->n_fields == head.n_fields && t->n_scope == head.n_scope;
	for (unsigned i = 0; same && i < t->n_fields; i++) {
		struct handed_field f;

		same = section_get(from, &f, sizeof(f)) && f.pen == t->fields[i].pen &&
		       f.id == t->fields[i].id && f.length == t->fields[i].length;
	}
	return same ? t : NULL;
}

const char *templated_take_over(struct collector *c, struct section *from)
{
	struct templated *s = templated_of(c);
	struct handed_templates head;
	uint32_t options = 0, which;

	if (!section_get(from, &head, sizeof(head)) || head.n > FLOW_MASKS + OPTION_SETS)
		return "its templates cannot be read";
	for (uint32_t i = 0; i < head.n; i++) {
		if (!templated_take_template(s, from, &which))
			return "its templates are others now";
		options |= which >= HANDED_OPTION ? 1u << (which - HANDED_OPTION) : 0;
	}
	s->announced = 0;
	for (unsigned i = 0; i < FLOW_MASKS; i++)
		s->announced |= s->flow.made[i] ? head.announced & 1u << i : 0;
	s->since_templates = head.since_templates;
	s->next_template_ns = head.next_template_ns;
	s->next_stats_ns = head.next_stats_ns;
	c->started = head.started;
	for (unsigned i = 0; i < OPTION_SETS; i++)
		s->templates_due |=
			s->options[i].used && !(options >> i & 1); /* one that it does not know yet */
	return NULL;
}
