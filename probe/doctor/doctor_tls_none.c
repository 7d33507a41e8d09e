/* doctor_tls_none: this build has no TLS. */
#include "pitot/doctor.h"

void doctor_probe_tls(struct doctor_collector *c, int fd, const char *ca, const char *name)
{
	(void)c;
	(void)fd;
	(void)ca;
	(void)name;
}
