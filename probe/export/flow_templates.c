/* flow_templates: see flow_templates.h. */
#include "flow_templates.h"

#include <errno.h>
#include <stdlib.h>

static int templates_make(struct flow_templates *f, unsigned mask, struct diag *diag)
{
	struct template *t = f->made[mask] ? NULL : malloc(sizeof(*t));
	int r;

	if (f->made[mask])
		return 0;
	if (!t)
		return diag_set(diag, -ENOMEM, "no memory for templates");
	r = fields_template(t, mask, f->protocol, f->with_id, f->config, diag);
	if (r) {
		free(t);
		return r;
	}
	f->made[mask] = t;
	return 0;
}

int flow_templates_init(struct flow_templates *f, enum ie_protocol protocol,
			const struct exporter_config *config, bool with_id, struct diag *diag)
{
	bool tells = config->opens_tunnels && fields_blocks(config->fields) >> BLOCK_TUNNEL & 1;
	int r;

	*f = (struct flow_templates){.config = config,
				     .protocol = protocol,
				     .with_id = with_id,
				     .tunnel_at = tells ? config->layout.record_at[BLOCK_TUNNEL] : 0};
	r = templates_make(f, 0, diag);
	return r ? r : templates_make(f, FLOW_MASK_IP6, diag);
}

void flow_templates_deinit(struct flow_templates *f)
{
	for (unsigned i = 0; i < FLOW_MASKS; i++)
		free(f->made[i]);
}

const struct template *flow_templates_make(struct flow_templates *f, unsigned mask)
{
	struct diag none;

	(void)templates_make(f, mask, &none);
	return f->made[mask];
}

int flow_templates_make_all(struct flow_templates *f)
{
	for (unsigned i = 0; f->tunnel_at && i < FLOW_MASKS; i++)
		if (!flow_templates_make(f, i))
			return -ENOMEM;
	return 0;
}
