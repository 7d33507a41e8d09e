/* opener: see include/pitot/opener.h.  This is the side of whoever asks; opener_serve.c is the opener. */
#include "pitot/opener.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "pitot/descriptors.h"
#include "pitot/task.h"
#include "sandbox/opener_internal.h"

#define ANSWER_NS	(5 * NS_PER_SEC)
#define HURRY_NS	(100 * NS_PER_MSEC) /* when there is something more urgent, or the end is near */
#define STARVED_NS	(10 * NS_PER_SEC)   /* however urgent: it wants to answer, and gets no processor */
#define DISK_NS		(500 * NS_PER_MSEC)
#define STARVED_STEP_NS (10 * NS_PER_MSEC)
#define LEAVE_NS	(500 * NS_PER_MSEC) /* for the opener to end by itself */
#define ALONE_NS	(300 * NS_PER_MSEC) /* for one of its processes to end the other one */

struct opener {
	const char *name;
	int fd;
	pid_t pid;	     /* of the elder process; 0: it has ended, and the other one takes its place */
	uint32_t gone;	     /* elder processes that have ended */
	uint64_t stopped_ns; /* since when it is stopped; 0: it is not */
	struct opener_life *life; /* NULL: it is another process's business how they are */
	uint32_t exits;		  /* of the younger process, as far as they were told */
	pthread_mutex_t mutex;	  /* one question at a time */
	uint32_t number;
	uint32_t unanswered; /* number of the question that it is still at; 0 none */
	const _Atomic uint64_t *until_ns;
	_Atomic int urgent_fd;
	const struct opener_file *files;
	unsigned n_files;
	const char *const *reads;
	unsigned n_reads;
	char missing[256];
};

/* ---- messages */

int opener_receive(int fd, struct opener_reply *reply, int *fds, unsigned *n_fds)
{
	int r = descriptors_receive(fd, reply, sizeof(*reply), fds, OPENER_FDS, n_fds, 0);

	if (r == 0)
		reply->text[sizeof(reply->text) - 1] = '\0';
	return r;
}

/* ---- start and end */

/* When a question that is asked now is given up. */
static uint64_t opener_patience(struct opener *o, uint64_t now_ns)
{
	uint64_t end_ns = now_ns + ANSWER_NS, until_ns = o->until_ns ? atomic_load(o->until_ns) : UINT64_MAX;

	if (end_ns > until_ns)
		end_ns = until_ns;
	return end_ns > now_ns + HURRY_NS ? end_ns : now_ns + HURRY_NS;
}

static int opener_step_ms(uint64_t now_ns, uint64_t end_ns)
{
	uint64_t left_ns = now_ns < end_ns ? end_ns - now_ns : STARVED_STEP_NS;

	return left_ns < HURRY_NS ? (int)(left_ns / NS_PER_MSEC) + (left_ns > 0)
				  : (int)(HURRY_NS / NS_PER_MSEC);
}

/*
 * Whether an answer may still come soon: it wants to give one and gets no processor, or the disk takes its
 * time.  Who cannot see that waits no longer.
 */
static bool opener_may_answer(const struct opener *o, uint64_t begun_ns)
{
	int pid = o->life ? atomic_load(&o->life->younger) : 0;
	uint64_t past_ns = clock_monotonic_ns() - begun_ns;
	struct task_seen seen;

	return pid > 0 && past_ns < STARVED_NS && task_look(&seen, pid, pid) &&
	       (seen.state == 'R' || (seen.state == 'D' && past_ns < DISK_NS));
}

/* Until there is an answer: 0, or negative errno. */
static int opener_poll(struct opener *o, uint64_t begun_ns, uint64_t end_ns)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = o->fd, .events = POLLIN},
				       {.fd = atomic_load(&o->urgent_fd), .events = POLLIN}};
		uint64_t now_ns = clock_monotonic_ns(), soon_ns = opener_patience(o, begun_ns);
		int n;

		if (end_ns > soon_ns) /* the end of the program has come nearer */
			end_ns = soon_ns;
		if (end_ns > begun_ns + HURRY_NS && poll(&fds[1], 1, 0) > 0)
			end_ns = begun_ns + HURRY_NS;
		n = poll(fds, end_ns > begun_ns + HURRY_NS ? 2 : 1, opener_step_ms(now_ns, end_ns));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && fds[0].revents)
			return 0;
		if (n == 0 && clock_monotonic_ns() >= end_ns && !opener_may_answer(o, begun_ns))
			return poll(fds, 1, 0) > 0 ? 0
						   : -ETIMEDOUT; /* it may have answered before we looked */
	}
}

static int opener_wait(struct opener *o, uint32_t number, struct opener_reply *reply, int *fds,
		       unsigned *n_fds)
{
	uint64_t begun_ns = clock_monotonic_ns(), end_ns = opener_patience(o, begun_ns);

	for (;;) {
		int r = opener_poll(o, begun_ns, end_ns);

		if (r < 0)
			return r;
		r = opener_receive(o->fd, reply, fds, n_fds);
		if (r == 1)
			return -EPIPE;
		if (r < 0)
			return r;
		if (reply->number == number)
			return 0;
		descriptors_close(fds, *n_fds); /* the answer to a question that nobody waits for any more */
	}
}

static int opener_started(struct opener *o, struct diag *diag)
{
	struct opener_reply reply;
	int fds[OPENER_FDS];
	unsigned n_fds;
	int r = opener_wait(o, 0, &reply, fds, &n_fds);

	if (r == -EPIPE)
		return diag_set(diag, r, "the process %s did not start", o->name);
	if (r < 0)
		return diag_set(diag, r, "the process %s did not start: %s", o->name, strerror(-r));
	if (reply.result < 0)
		return reply.text[0] == '-' /* of an option: it says what is wrong, whoever says it */
			       ? diag_set(diag, reply.result, "%s", reply.text)
			       : diag_set(diag, reply.result, "the process %s: %s", o->name, reply.text);
	snprintf(o->missing, sizeof(o->missing), "%s", reply.text);
	return 0;
}

/* Memory that nobody has but the processes that are forked from here and keep it. */
static int opener_share(struct opener *o)
{
	int fd = memfd_create(o->name, MFD_CLOEXEC), r = 0;
	void *memory = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, sizeof(*o->life)) == 0)
		memory = mmap(NULL, sizeof(*o->life), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		r = -errno;
	else
		o->life = memory;
	if (fd >= 0)
		close(fd);
	return r;
}

static int opener_fork(struct opener *o, const struct opener_config *config)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	o->fd = fds[0];
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); /* the younger process may become a child of ours */
	o->pid = fork();
	if (o->pid == 0)
		_exit(opener_serve(fds[1], config, o->life));
	close(fds[1]);
	return o->pid < 0 ? -errno : 0;
}

int opener_start(struct opener **op, const struct opener_config *config, struct diag *diag)
{
	struct opener *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return diag_set(diag, -ENOMEM, "the process %s: out of memory", opener_name(config));
	*o = (struct opener){.name = opener_name(config),
			     .fd = -1,
			     .pid = -1,
			     .urgent_fd = -1,
			     .files = config->files,
			     .n_files = config->n_files,
			     .reads = config->reads,
			     .n_reads = config->n_reads};
	pthread_mutex_init(&o->mutex, NULL);
	r = opener_share(o);
	if (r == 0)
		r = opener_fork(o, config);
	r = r < 0 ? diag_set(diag, r, "the process %s: %s", o->name, strerror(-r)) : opener_started(o, diag);
	if (r < 0) {
		opener_stop(o);
		return r;
	}
	*op = o;
	return 0;
}

/* ---- its two processes */

void opener_leave_alone(struct opener *o)
{
	if (o && o->life)
		munmap(o->life, sizeof(*o->life));
	if (o)
		o->life = NULL;
}

/* The elder process is stopped: the other one ends it, and if it is stopped, too, they are to go on. */
static void opener_end_elder(struct opener *o, uint64_t now_ns)
{
	const struct opener_request request = {.kind = OPENER_ALONE};

	if (!o->stopped_ns) {
		o->stopped_ns = now_ns;
		(void)!send(o->fd, &request, sizeof(request), MSG_NOSIGNAL | MSG_DONTWAIT);
	} else if (now_ns - o->stopped_ns > ALONE_NS) {
		kill(o->pid, SIGCONT);
	}
}

/* Whether it has ended, and how. */
static bool opener_look_at_elder(struct opener *o, int *status)
{
	int how;
	pid_t r;

	if (o->pid <= 0 && o->gone < atomic_load(&o->life->elders))
		o->pid = atomic_load(&o->life->elder[o->gone % OPENER_ENDS]);
	if (o->pid <= 0)
		return false;
	r = waitpid(o->pid, &how, WNOHANG | WUNTRACED);
	if (o->stopped_ns || (r == o->pid && WIFSTOPPED(how)))
		opener_end_elder(o, clock_monotonic_ns());
	if (r != o->pid || WIFSTOPPED(how))
		return false;
	*status = o->stopped_ns ? W_STOPCODE(SIGSTOP) : how;
	o->gone++;
	o->pid = 0;
	o->stopped_ns = 0;
	return true;
}

bool opener_look(struct opener *o, int *status)
{
	if (!o || !o->life)
		return false;
	if (o->exits == atomic_load(&o->life->exits))
		return opener_look_at_elder(o, status);
	*status = atomic_load(&o->life->ends[o->exits++ % OPENER_ENDS]);
	return true;
}

/* One that hangs is not waited for: it finds this end closed when it goes on, and ends. */
static void opener_reap(struct opener *o)
{
	uint64_t end_ns = clock_monotonic_ns() + LEAVE_NS;
	int status;

	while (!opener_look_at_elder(o, &status) || !WIFEXITED(status)) {
		if (clock_monotonic_ns() >= end_ns)
			return;
		poll(NULL, 0, 2);
	}
}

void opener_stop(struct opener *o)
{
	if (!o)
		return;
	if (o->fd >= 0) {
		shutdown(o->fd, SHUT_RDWR); /* a child that was forked since may hold it, too */
		close(o->fd);
		o->fd = -1;
	}
	if (o->pid > 0)
		kill(o->pid, SIGCONT); /* if it is stopped */
	if (o->life && o->pid >= 0)
		opener_reap(o);
	opener_leave_alone(o);
	pthread_mutex_destroy(&o->mutex);
	free(o);
}

int opener_pid(const struct opener *o)
{
	return opener_elder(o->life);
}

const char *opener_whose(const struct opener *o)
{
	return o->name;
}

void opener_forget(struct opener *o)
{
	if (!o)
		return;
	close(o->fd);
	opener_leave_alone(o);
	pthread_mutex_destroy(&o->mutex);
	free(o);
}

void opener_hurry(struct opener *o, int urgent_fd, const _Atomic uint64_t *until_ns)
{
	if (!o)
		return;
	atomic_store(&o->urgent_fd, urgent_fd);
	o->until_ns = until_ns;
}

bool opener_has_ended(struct opener *o)
{
	struct pollfd pfd = {.fd = o ? o->fd : -1};

	return poll(&pfd, 1, 0) > 0 && pfd.revents & (POLLHUP | POLLERR);
}

const char *opener_missing(const struct opener *o)
{
	return o->missing;
}

/* ---- questions */

/* The answer to a question that was given up may have come by now; until then another one would wait behind
 * it. */
static int opener_catch_up(struct opener *o)
{
	struct opener_reply reply;
	int fds[OPENER_FDS], r = 0;
	unsigned n_fds;

	while (o->unanswered && r == 0) {
		struct pollfd pfd = {.fd = o->fd, .events = POLLIN};

		if (poll(&pfd, 1, 0) <= 0)
			return -EBUSY;
		r = opener_receive(o->fd, &reply, fds, &n_fds);
		descriptors_close(fds, n_fds);
		if (r == 0 && reply.number == o->unanswered)
			o->unanswered = 0;
	}
	return r == 1 ? -EPIPE : r;
}

static const char *opener_why(int r)
{
	switch (r) {
	case -EPIPE:
	case -ECONNRESET:
		return " has ended";
	case -ETIMEDOUT:
		return " does not answer";
	case -EBUSY:
		return " still does not answer";
	default:
		return "";
	}
}

static int opener_ask(struct opener *o, struct opener_request request, struct opener_reply *reply, int *fds,
		      unsigned *n_fds)
{
	int r;

	*n_fds = 0;
	*reply = (struct opener_reply){0};
	pthread_mutex_lock(&o->mutex);
	r = opener_catch_up(o);
	request.number = ++o->number ? o->number : ++o->number;
	if (r == 0 && send(o->fd, &request, sizeof(request), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		r = -errno;
	if (r == 0)
		r = opener_wait(o, request.number, reply, fds, n_fds);
	if (r == -ETIMEDOUT)
		o->unanswered = request.number;
	pthread_mutex_unlock(&o->mutex);
	if (r < 0)
		snprintf(reply->text, sizeof(reply->text), "the process %s%s%s", o->name,
			 opener_why(r)[0] ? opener_why(r) : ": ", opener_why(r)[0] ? "" : strerror(-r));
	return r < 0 ? r : reply->result;
}

int opener_capture(struct opener *o, unsigned index, int group, struct opener_answer *answer,
		   struct diag *diag)
{
	const struct opener_request request = {
		.kind = OPENER_CAPTURE, .index = (uint16_t)index, .group = group};
	struct opener_reply reply;
	int r;

	*answer = (struct opener_answer){0};
	r = opener_ask(o, request, &reply, answer->fds, &answer->n_fds);
	if (r < 0) {
		descriptors_close(answer->fds, answer->n_fds);
		return diag_set(diag, r, "%s", reply.text);
	}
	memcpy(answer->facts, reply.facts, sizeof(answer->facts));
	return 0;
}

int opener_read(struct opener *o, const char *path, struct diag *diag)
{
	struct opener_request request = {.kind = OPENER_READ};
	struct opener_reply reply;
	int fds[OPENER_FDS], r;
	unsigned n_fds;

	while (o && request.index < o->n_reads && strcmp(o->reads[request.index], path) != 0)
		request.index++;
	if (!o || request.index == o->n_reads)
		return diag_set(diag, -ENOENT, "%.400s: nobody keeps it open", path);
	r = opener_ask(o, request, &reply, fds, &n_fds);
	if (r == 0 && n_fds == 1)
		return fds[0];
	descriptors_close(fds, n_fds);
	return diag_set(diag, r < 0 ? r : -EPROTO, "%.255s", reply.text);
}

/* Without an opener, and for what it does not know: the caller does it. */
static int opener_do_path(const struct opener_request *request, const char *path, int *fd,
			  struct opener_done *done, struct diag *diag)
{
	struct path_at at;
	int r = path_find(&at, path, geteuid(), diag);

	if (r == 0)
		r = opener_do(request, &at, fd, done, diag);
	path_forget(&at);
	return r;
}

static int opener_ask_file(struct opener *o, struct opener_request request, const char *path, int *fd,
			   struct opener_done *done, struct diag *diag)
{
	struct opener_reply reply;
	int fds[OPENER_FDS], r;
	unsigned n_fds, i = 0;

	*fd = -1;
	*done = (struct opener_done){0};
	while (o && i < o->n_files && strcmp(o->files[i].path, path))
		i++;
	if (!o || i == o->n_files)
		return opener_do_path(&request, path, fd, done, diag);
	request.index = (uint16_t)i;
	r = opener_ask(o, request, &reply, fds, &n_fds);
	if (r == 0 && n_fds != opener_opens(request.kind))
		r = -EPROTO;
	memcpy(done, reply.facts, sizeof(*done));
	if (r == 0 && n_fds)
		*fd = fds[0];
	else
		descriptors_close(fds, n_fds);
	return diag_set(diag, r, "%.255s", reply.text[0] || r == 0 ? reply.text : strerror(-r));
}

int opener_rewrite(struct opener *o, const char *path, bool *part, struct diag *diag)
{
	struct opener_done done;
	int fd, r = opener_ask_file(o, (struct opener_request){.kind = OPENER_REWRITE}, path, &fd, &done,
				    diag);

	*part = done.part;
	return r < 0 ? r : fd;
}

int opener_finish(struct opener *o, const char *path, struct diag *diag)
{
	struct opener_done done;
	int fd;

	return opener_ask_file(o, (struct opener_request){.kind = OPENER_FINISH}, path, &fd, &done, diag);
}

int opener_remove(struct opener *o, const char *path, struct diag *diag)
{
	struct opener_done done;
	int fd;

	return opener_ask_file(o, (struct opener_request){.kind = OPENER_REMOVE}, path, &fd, &done, diag);
}

int opener_continue(struct opener *o, const char *path, struct diag *diag)
{
	struct opener_done done;
	int fd, r = opener_ask_file(o, (struct opener_request){.kind = OPENER_CONTINUE}, path, &fd, &done,
				    diag);

	return r < 0 ? r : fd;
}

int opener_set_aside(struct opener *o, const char *path, char name[PATH_NAME_SIZE], struct diag *diag)
{
	struct opener_done done;
	int fd, r = opener_ask_file(o, (struct opener_request){.kind = OPENER_SET_ASIDE}, path, &fd, &done,
				    diag);

	if (r == 0)
		snprintf(name, PATH_NAME_SIZE, "%.255s", diag->text);
	return r;
}

int opener_begin(struct opener *o, const char *path, struct path_time *time, struct diag *diag)
{
	const struct opener_request request = {.kind = OPENER_BEGIN, .time = *time};
	struct opener_done done;
	int fd, r = opener_ask_file(o, request, path, &fd, &done, diag);

	time->number = done.number;
	return r < 0 ? r : fd;
}

int opener_resume(struct opener *o, const char *path, const struct path_time *time, struct diag *diag)
{
	const struct opener_request request = {.kind = OPENER_RESUME, .time = *time};
	struct opener_done done;
	int fd, r = opener_ask_file(o, request, path, &fd, &done, diag);

	return r < 0 ? r : fd;
}

int opener_complete(struct opener *o, const char *path, const struct path_time *time, struct diag *diag)
{
	const struct opener_request request = {.kind = OPENER_COMPLETE, .time = *time};
	struct opener_done done;
	int fd;

	return opener_ask_file(o, request, path, &fd, &done, diag);
}
