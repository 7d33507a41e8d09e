#!/usr/bin/env python3
"""Calls and habits that are not of this house: lint_banned.py SRCROOT."""
import re

from lintlib import code, error, finish, line_of, name, sources

BANNED = {
    "strcpy": "snprintf", "strcat": "snprintf", "strncpy": "snprintf", "strncat": "snprintf", "sprintf": "snprintf",
    "vsprintf": "vsnprintf", "gets": "fgets", "strtok": "strtok_r or strspn", "atoi": "strtoul with all its checks",
    "atol": "strtoul", "atoll": "strtoull", "atof": "strtod", "scanf": "strtoul", "sscanf": "strtoul",
    "alloca": "an array of fixed size", "rand": "getrandom", "srand": "getrandom", "random": "getrandom",
    "gethostbyname": "getaddrinfo", "inet_ntoa": "inet_ntop", "inet_addr": "inet_pton", "inet_aton": "inet_pton",
    "system": "nothing", "popen": "nothing", "mktemp": "mkstemp", "tmpnam": "mkstemp",
    "perror": "diag_set", "usleep": "poll", "ctime": "strftime", "localtime": "localtime_r", "gmtime": "gmtime_r",
    "bzero": "an initialiser", "longjmp": "an error", "select": "poll",
}

# call: the files of probe/ that may use it, and why nobody else may
RESERVED = [
    (r"\bexit\s*\(|\b_exit\s*\(|\bquick_exit\s*\(|\berrx?\s*\(", {"probe/main.c", "probe/process/daemon.c", "probe/sandbox/opener.c", "probe/process/metrics.c", "probe/process/live_view.c"},
     "only main.c exits (daemon.c: the parent that --daemon leaves behind; opener.c, metrics.c, live_view.c: their own child)"),
    (r"\babort\s*\(", {"probe/sandbox/sandbox_hook.c"}, "an error is returned (sandbox_hook.c: has to die)"),
    (r"\bclock_gettime\s*\(|\bgettimeofday\s*\(|\btime\s*\(\s*NULL", {"probe/base/clock.c", "probe/process/pressure.c"},
     "time is an argument (pressure.c: processor time)"),
    (r"\b[hn]to[hn][sl]\s*\(|\bhtobe(16|32|64)\s*\(|\bbe(16|32|64)toh\s*\(",
     {"include/pitot/wire.h", "probe/capture/capture_afpacket.c", "probe/capture/capture_interface.c",
      "probe/transport/socket.c", "probe/process/metrics.c"},
     "octets are put by wire.h; sockaddr fields of a socket call are the only other place"),
    (r"\bf?printf\s*\(|\bputs\s*\(|\bfputs\s*\(|\bputchar\s*\(",
     {"probe/main.c", "probe/process/daemon.c", "probe/process/report_json.c", "probe/process/control_streams.c",
      "probe/process/report_openmetrics.c", "probe/process/report_text.c", "probe/ctl/pitotctl.c", "probe/ctl/show.c", "probe/ctl/diagnosis.c"},
     "only main and what it is made of speak"),
    (r"\blog_(error|warning|info|debug|write)\s*\(",
     {"probe/main.c", "probe/process/metering.c", "probe/process/metering_live.c", "probe/process/live_view.c", "probe/process/shared.c", "probe/process/revive.c", "probe/process/role.c", "probe/process/role_exporting.c", "probe/process/orders.c", "probe/process/ending.c", "probe/process/contacts.c", "probe/process/reporting.c", "probe/process/verdict.c", "probe/process/setup.c", "probe/process/stepping.c", "probe/process/control.c", "probe/process/daemon.c", "probe/process/exporting.c",
      "probe/process/confine.c", "probe/process/announce.c", "probe/process/pidfile.c", "probe/process/watch.c", "probe/process/interfaces.c", "probe/process/hand_over.c", "probe/process/metering_hand_over.c", "probe/process/take_over.c", "probe/process/take_over_restore.c", "probe/base/log.c", "include/pitot/log.h"}, "only main and process/ log"),
    (r"\bmemset\s*\([^;]*sizeof", {"include/pitot/wire.h"}, "*x = (struct x){ ... }"),
    (r"\bsignal\s*\((?![^;]*SIG_(IGN|DFL)\))", set(), "a handler is set by sigaction"),
    (r"\btypedef\s+struct\b", set(), "no typedef for structs"),
    (r"\bdiag_set\s*\([^;]*\b(why|diag|looked|missing)(\.|->)text\s*\)", {"probe/spool/spool_file.c", "probe/process/child.c"},
     "diag_prefix() puts words in front of a sentence (spool_file.c: words behind it; child.c: a sentence of another process)"),
]

CONDITIONAL = re.compile(r"^[ \t]*#[ \t]*(if|ifdef|ifndef|elif)\b(.*)$", re.M)


def check_conditionals(path, text):
    """#if only where a file begins: before its first function."""
    first = re.search(r"^[a-z][^;{}()#]*\([^;{}]*\)\s*\n?\{", text, re.M)
    end = first.start() if first else len(text)
    for match in CONDITIONAL.finditer(text):
        if path.suffix == ".h" and re.match(r"\s*(PITOT_\w+_H|\w+_H)\b", match.group(2)):
            continue
        if match.start() > end:
            error(f"{name(path)}:{line_of(text, match.start())}",
                  "#if below the top of the file: an optional feature is a file that meson picks")


def main():
    for path in sources("probe", "include"):
        text = code(path)
        for call, instead in BANNED.items():
            for match in re.finditer(rf"(?<![\w.>]){call}\s*\(", text):
                error(f"{name(path)}:{line_of(text, match.start())}", f"{call}() is banned: use {instead}")
        for pattern, allowed, why in RESERVED:
            if name(path) in allowed:
                continue
            for match in re.finditer(pattern, text):
                error(f"{name(path)}:{line_of(text, match.start())}", f"'{match.group().strip()}': {why}")
        check_conditionals(path, text)
    finish()


main()
