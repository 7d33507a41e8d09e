#!/usr/bin/env python3
"""Commands: pitotctl(8) has every row of verbs.def and of control_requests.def, and no other: lint_control.py SRCROOT."""
import re

from lintlib import error, finish, root


def rows(path, macro):
    text = re.sub(r"/\*.*?\*/", "", (root() / path).read_text(encoding="utf-8"), flags=re.S)
    return re.findall(macro + r'\("([^"]+)"', text)


def section(text, title):
    return re.search(rf"^\.Sh {title}\n(.*?)(?=^\.Sh )", text, re.S | re.M).group(1)


def compare(where, found, wanted):
    for name in sorted(set(wanted) - set(found)):
        error(f"man/pitotctl.8: {where}", f"{name} is missing")
    for name in sorted(set(found) - set(wanted)):
        error(f"man/pitotctl.8: {where}", f"{name} is no row")


def main():
    text = (root() / "man/pitotctl.8").read_text(encoding="utf-8")
    verbs = rows("probe/ctl/verbs.def", "VERB")
    requests = rows("probe/process/control_requests.def", "REQUEST(?:_MANY)?")
    compare("COMMANDS", re.findall(r"^\.It Cm (\S+)", section(text, "COMMANDS"), re.M), verbs)
    compare("PROTOCOL", re.findall(r"^\.It Cm (\S+)", section(text, "PROTOCOL"), re.M), requests)
    used = re.findall(r'VERB\("[^"]+", "([^"]+)"', (root() / "probe/ctl/verbs.def").read_text(encoding="utf-8"))
    for name in sorted(set(used) - set(requests)):
        error("probe/ctl/verbs.def", f"{name} is no request")
    finish()


main()
