#!/usr/bin/env python3
"""Who may include what: lint_includes.py SRCROOT.

A packet goes down one staircase; no step knows the one above it.  The table says which contracts a folder may
see, whether it includes them itself or gets them by another header.  `stages` of the table is the rule; change it
when a contract is new, never to get an include through.
"""
import re

from lintlib import code, error, finish, line_of, name, root

BASE = {"clock.h", "compressions.def", "descriptors.h", "diag.h", "gate.h", "hash.h", "log.h", "path.h", "protocol.h", "protocols.def", "published.h", "resolve.h", "ring.h", "sections.h", "task.h", "totals.h", "utf8.h", "waiting.h"}
PACKET = {"packet.h", "flow_key.h", "flow_record.h", "ignored.def", "notes.def", "blocks.h", "blocks.def"}
FRAME = {"cooked.h", "link_type.h", "tag.h", "tags.def"}  # what frames look like that both a filter and a decoder look into

STAGES = {
    "base": set(),
    "config": {"config.h", "collector.h", "timeouts.h", "formats.def", "transports.def", "options.def", "tunnel.h", "tunnels.def", "url_settings.def"},
    "capture": {"capture.h"} | PACKET | FRAME,
    "decode": {"decode.h", "tunnel.h", "tunnels.def"} | PACKET | FRAME,
    "flow": {"flow_table.h", "flow_filter.h", "fragment.h", "stats.h"} | PACKET,
    "sample": {"sampler.h", "packet_sample.h", "stats.h"} | PACKET,
    "enrich": {"enrich.h", "flow_record.h", "flow_key.h", "blocks.h", "blocks.def", "interface.h", "netif.h"},
    "export": {"exporter.h", "flow_record.h", "flow_key.h", "blocks.h", "blocks.def", "packet_sample.h", "counters.h", "interface.h", "ie.h",
               "ie.def", "fields.def", "transport.h", "collector.h", "formats.def", "transports.def", "wire.h"},
    "transport": {"transport.h", "collector.h", "formats.def", "transports.def", "opener.h", "spool.h", "tls_verify.h", "wire.h"},
    "spool": {"spool.h", "wire.h"},
    "netif": {"netif.h", "counters.h"},
    "sandbox": {"sandbox.h", "opener.h"},
    "doctor": {"doctor.h", "collector.h", "formats.def", "transports.def", "netif.h", "tls_verify.h"},
    "ctl": {"control_protocol.h", "doctor.h", "collector.h", "timeouts.h", "formats.def", "transports.def", "screen.h"},
}

# What a contract may be built of.  It keeps the edges that people want, and must not get, out of the headers too.
NEVER = [  # folder, header, why
    ("flow", "exporter.h", "expiry hands records to a callback"),
    ("flow", "ie.h", "the flow table knows no protocol"),
    ("enrich", "flow_table.h", "an enricher sees finished records only"),
    ("enrich", "exporter.h", "an enricher knows no exporter and no format"),
    ("enrich", "ie.h", "an enricher fills blocks and knows no element"),
    ("export", "enrich.h", "an exporter takes records as they are"),
    ("export", "flow_table.h", "an exporter sees finished records only"),
    ("export", "capture.h", "an exporter sees finished records only"),
    ("export", "decode.h", "an exporter sees finished records only"),
    ("transport", "exporter.h", "a transport carries messages and knows no format"),
    ("transport", "ie.h", "a transport carries messages and knows no format"),
    ("spool", "transport.h", "a spool keeps messages and knows no session"),
    ("capture", "decode.h", "capture lends frames"),
    ("decode", "capture.h", "decode sees frames, not where they come from"),
    ("decode", "flow_table.h", "decode fills packets"),
]

# process/ is what runs the steps: it sees all contracts, and only main.c sees it.
ALL_CONTRACTS = {"process"}

# The user's wishes: every step gets its slice of them as an argument.
CONFIG_OWNERS = {"config", "process", ""}

# Libraries: system headers that belong to one folder.
LIBRARIES = {
    r"pcap(/.*)?\.h": {"capture"},
    r"netlink/.*": {"netif"},
    r"openssl/.*": {"transport", "doctor"},
    r"linux/if_packet\.h": {"capture"},
    r"(bpf|xdp)/.*\.h": {"capture"},
    r"seccomp\.h": {"sandbox"},
    r"microhttpd\.h": {"process"},
    r"jansson\.h": {"ctl", "process"},
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)


def includes(path):
    text = code(path, keep_strings=True)
    for match in INCLUDE.finditer(text):
        yield line_of(text, match.start()), match.group(1), match.group(2)


def closure(header, seen):
    """All contracts that including pitot/<header> brings in."""
    if header in seen:
        return seen
    seen.add(header)
    path = root() / "include/pitot" / header
    if not path.exists():
        error(header, "is included and is not in include/pitot")
        return seen
    for _, kind, target in includes(path):
        if kind == '"' and target.startswith("pitot/"):
            closure(target[len("pitot/"):], seen)
    return seen


def check_stage(path, folder, line, target):
    where = f"{name(path)}:{line}"
    if target.startswith("pitot/"):
        header = target[len("pitot/"):]
        for got in sorted(closure(header, set())):
            for stage, never, why in NEVER:
                if (stage, never) == (folder, got):
                    error(where, f"{folder}/ must never see {got}: {why}")
            if folder not in ALL_CONTRACTS and got not in STAGES[folder] | BASE:
                by = "" if got == header else f" (by {header})"
                error(where, f"{folder}/ may not see {got}{by}")
    elif "/" in target and target.split("/")[0] != folder:
        error(where, f"{target} is private to another folder: a header for two folders goes into include/pitot")
    elif ".." in target:
        error(where, f"{target} leaves its folder")


def main():
    probe = root() / "probe"
    for path in sorted(probe.rglob("*.[ch]")):
        parts = path.relative_to(probe).parts
        folder = parts[0] if len(parts) > 1 else ""
        if folder and folder not in STAGES and folder not in ALL_CONTRACTS:
            error(name(path), f"folder {folder}/ has no row in the table of this lint")
            continue
        for line, kind, target in includes(path):
            if kind == "<":
                for pattern, owners in LIBRARIES.items():
                    if re.fullmatch(pattern, target) and folder not in owners:
                        error(f"{name(path)}:{line}", f"<{target}> belongs to {', '.join(sorted(owners))}/")
                continue
            if folder:
                check_stage(path, folder, line, target)
            if target == "pitot/config.h" and folder not in CONFIG_OWNERS:
                error(f"{name(path)}:{line}", "only config/, process/ and main.c may see the configuration")
            if not folder and "/" in target and target.split("/")[0] not in ("pitot", "process"):
                error(f"{name(path)}:{line}", f"{target} is private to its folder")
    for path in sorted((root() / "include/pitot").iterdir()):
        for line, kind, target in includes(path):
            if kind == '"' and not target.startswith("pitot/"):
                error(f"{name(path)}:{line}", "a contract includes contracts only")
    finish()


main()
