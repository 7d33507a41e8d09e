/* log_sink: where log.c's lines go. */
#ifndef LOG_SINK_H
#define LOG_SINK_H

#include "pitot/log.h"

/* One line without its end; nothing in it has to be escaped. */
void log_sink_line(enum log_level level, const char *text);
/* From time to time, by a thread that may open sockets: a log that was started again is found. */
void log_sink_tick(void);

#endif
