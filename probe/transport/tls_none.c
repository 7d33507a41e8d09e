/* tls_none: TLS and DTLS where the build has no OpenSSL. */
#include <errno.h>

#include "pitot/transport.h"

static int none_open(struct transport **tp, const struct transport_config *config, struct diag *diag)
{
	(void)tp;
	return diag_set(diag, -EPROTONOSUPPORT,
			"--collector %.300s: this pitot was built without TLS (meson option tls)",
			config->collector->url);
}

const struct transport_ops transport_tls_ops = {.name = "tls", .open = none_open};
const struct transport_ops transport_dtls_ops = {.name = "dtls", .open = none_open};
