"""What scripts/local.sh and scripts/invoke-local.sh have Python do: find a free port, start a process that outlives them,
and ask MiniStack things."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request


def port(preferred: str) -> None:
    """Prints the preferred port, or any other where that one is taken."""
    for candidate in (int(preferred), 0):
        with socket.socket() as probe:
            # As servers do, so that what is left of a former connection does not count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
                print(probe.getsockname()[1])
                return
            except OSError:
                continue
    sys.exit("there is no free port on 127.0.0.1")


def spawn(name: str, *command: str) -> None:
    """Starts a command in a session of its own. The child notes its pid itself: no interrupt comes between."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def enter() -> None:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        with open(f"{name}.pid", "w") as file:
            file.write(f"{os.getpid()}\n")

    with open(f"{name}.log", "ab") as log:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=enter)


def health(url: str, edition: str) -> None:
    """Succeeds when the MiniStack at that address answers and is the one that was started with that edition."""
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/_ministack/health", timeout=5) as answer:
            sys.exit(json.load(answer)["edition"] != edition)
    except (OSError, ValueError):
        sys.exit(1)


def logs(follow: str, *groups: str) -> None:
    """Prints the functions' lines, oldest first; what is not JSON (a panic, say) goes to stderr."""
    import botocore.session

    client = botocore.session.get_session().create_client("logs")
    start = dict.fromkeys(groups, 0)
    seen: set[tuple] = set()
    while True:
        batch = []
        for group in groups:
            taken: dict[str, int] = {}
            for event in client.filter_log_events(logGroupName=group, startTime=start[group])["events"]:
                stream = event["logStreamName"]
                taken[stream] = taken.get(stream, 0) + 1
                key = (group, stream, taken[stream])
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


def invoke(function: str, path: str) -> None:
    """Runs one of the stack's functions on the event in a file and prints its answer, and on a failure the end of its log."""
    import botocore.config
    import botocore.exceptions
    import botocore.session

    # An invocation may take Lambda's 15 minutes, and repeating it would do its work twice.
    config = botocore.config.Config(read_timeout=900, retries={"total_max_attempts": 1})
    client = botocore.session.get_session().create_client("lambda", config=config)
    name = f"{os.environ['TABLE_NAME'].removesuffix('-connections')}-{function}"
    with open(path, "rb") as file:
        event = file.read()
    try:
        result = client.invoke(FunctionName=f"{name}:live", Payload=event, LogType="Tail")
        answer = json.load(result["Payload"])
    except client.exceptions.ResourceNotFoundException:
        sys.exit(f"this stack has no function {function}: run scripts/local.sh up{' --auth' if function == 'authorizer' else ''}")
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        sys.exit(f"the stack could not invoke {function}: {error}")
    # As the function wrote it: MiniStack adds spaces.
    print(json.dumps(answer, ensure_ascii=False, separators=(",", ":")), flush=True)
    if refused(answer):
        outcome = "refused the event"
    elif "FunctionError" in result:
        outcome = "failed"
    else:
        return
    # There is none where the function did not start: then its answer holds what it has logged.
    if log := base64.b64decode(result.get("LogResult", "")).decode(errors="replace"):
        print(log, file=sys.stderr)
    sys.exit(f"{function} {outcome}: its answer and log are above")


def refused(answer: object) -> bool:
    """Whether an answer has a statusCode from 400, is an error frame, which the answer to a socket holds as its body, or is
    publish's refusal, a function error whose type is a code such as bad_request."""
    if not isinstance(answer, dict):
        return False
    body = answer.get("body") or ""
    frame = json.loads(body) if body.startswith("{") else {}
    code = answer.get("errorType", "internal")
    return answer.get("statusCode", 200) >= 400 or "error" in (answer.get("type"), frame.get("type")) or (code != "internal" and code.islower())


if __name__ == "__main__":
    try:
        {"port": port, "spawn": spawn, "health": health, "logs": logs, "invoke": invoke}[sys.argv[1]](*sys.argv[2:])
    except (KeyboardInterrupt, BrokenPipeError):
        # Whoever read the lines has had enough; nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
