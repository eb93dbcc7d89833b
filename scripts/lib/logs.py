"""Prints the log lines of the local stack's functions, oldest first: logs.py OUTPUTS [FUNCTION] [--follow].

What is not JSON (a panic, say) goes to stderr.
"""

import argparse
import json
import os
import sys
import time

import botocore.session


def print_lines(groups: list[str], follow: bool) -> None:
    client = botocore.session.get_session().create_client("logs")
    start = dict.fromkeys(groups, 0)
    seen: set[tuple] = set()
    while True:
        batch = []
        for group in groups:
            counts: dict[str, int] = {}
            for event in client.filter_log_events(logGroupName=group, startTime=start[group])["events"]:
                stream = event["logStreamName"]
                counts[stream] = counts.get(stream, 0) + 1
                key = (group, stream, counts[stream])
                if key not in seen:
                    seen.add(key)
                    batch.append((event["timestamp"], event["message"]))
                    start[group] = event["timestamp"]
        for _, message in sorted(batch, key=lambda entry: entry[0]):
            if message.startswith("{"):
                print(message, flush=True)
            elif not message.startswith(("START RequestId:", "END RequestId:", "REPORT RequestId:")):
                print(message, file=sys.stderr, flush=True)
        # An answer holds 10,000 events at most: where there were any, there may be more.
        if not batch:
            if not follow:
                return
            time.sleep(1)


def main(outputs: str, *arguments: str) -> None:
    with open(outputs, encoding="utf-8") as file:
        groups = json.load(file)["log_group_names"]
    parser = argparse.ArgumentParser(prog="local.sh logs", allow_abbrev=False)
    parser.add_argument("function", nargs="?", choices=groups)
    parser.add_argument("-f", "--follow", action="store_true")
    given = parser.parse_args(arguments)
    try:
        print_lines([groups[given.function]] if given.function else list(groups.values()), given.follow)
    except (KeyboardInterrupt, BrokenPipeError):
        # Nothing may be written any more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
