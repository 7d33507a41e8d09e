/* metering_files: a source that reads savefiles: what a file_reader deals to one of its readers. */
#ifndef METERING_FILES_H
#define METERING_FILES_H

#include "file_reader.h"
#include "source.h"

/* The file_reader stays the caller's. */
int metering_files_new(struct source **sp, struct file_reader *f, unsigned reader, size_t packet_size,
		       struct diag *diag);

#endif
