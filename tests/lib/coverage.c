/* coverage: part of builds with -Db_coverage=true, so that counters are written whichever user the program
 * has become.
 *
 * Processes of several users add to the same files, so these are made with umask 0; everything else that a
 * test makes is not, because pitot refuses files that everybody may write.  A limit on the size of files is
 * lifted, too. _exit() is linked to the one here, which writes the counters first, as exit() does.
 */
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

void __gcov_dump(void);
void __real__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status) __attribute__((noreturn));

/* gcc's own destructor writes the counters and has the priority 100: the higher number runs first. */
__attribute__((destructor(101))) static void coverage_make_room(void)
{
	struct rlimit limit;

	umask(0);
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_FSIZE, &limit);
	}
}

void __wrap__exit(int status)
{
	coverage_make_room();
	__gcov_dump();
	__real__exit(status);
}
