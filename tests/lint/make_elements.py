#!/usr/bin/env python3
"""Writes ipfix-elements.csv: make_elements.py REGISTRY.csv, where that is IANA's
https://www.iana.org/assignments/ipfix/ipfix-information-elements.csv (CC0)."""
import csv
import sys
from pathlib import Path


def main():
    with open(sys.argv[1], encoding="utf-8", newline="") as registry, \
            open(Path(__file__).with_name("ipfix-elements.csv"), "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["id", "name", "type", "status"])
        for row in csv.DictReader(registry):
            number = row["ElementID"]
            if number.isdigit() and row.get("Abstract Data Type", row.get("AbstractDataType")):
                writer.writerow([number, row["Name"], row.get("Abstract Data Type", row.get("AbstractDataType")),
                                 row["Status"]])


main()
