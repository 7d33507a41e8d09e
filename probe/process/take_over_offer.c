/* take_over_offer: see take_over_offer.h.  A line of JSON, as control_requests.c writes it. */
#include "take_over_offer.h"

#include <errno.h>
#include <jansson.h>

bool take_over_offers_exist(void)
{
	return true;
}

int take_over_read_offer(const char *line, unsigned *workers, struct diag *diag)
{
	json_t *answer = json_loads(line, 0, NULL);
	const json_t *result = json_object_get(answer, "result");
	const char *error = json_string_value(json_object_get(answer, "error"));
	json_int_t n = json_integer_value(json_object_get(result, "workers"));
	int r = 0;

	if (!json_is_true(json_object_get(answer, "ok")))
		r = diag_set(diag, -EPERM, "%.300s", error ? error : "the answer is none");
	else
		*workers = n > 0 && n < 65536 ? (unsigned)n : 0;
	json_decref(answer);
	return r;
}
