"""Runs one function of the local stack on an event, as scripts/invoke-local.sh says: invoke.py [FUNCTION] [EVENT]."""

import base64
import json
import os
import sys
from pathlib import Path

import botocore.config
import botocore.exceptions
import botocore.session

ROOT = Path(__file__).resolve().parents[2]


def arguments(function: str = "", event: str = "", *more: str) -> "tuple[str, bytes]":
    functions = sorted(path.parents[1].name for path in ROOT.glob("functions/*/src/main.rs"))
    if function not in functions or more:
        sys.exit(f"there is no function {function}: take one of {' '.join(functions)}, and at most one event")
    path = Path(event or ROOT / f"events/{'subscribe' if function == 'membership' else function}.json")
    try:
        text = path.read_bytes()
        json.loads(text)
    except OSError:
        sys.exit(f"there is no file {path}: name an event as the second argument")
    except ValueError as error:
        sys.exit(f"{path} is not JSON: {error}")
    return function, text


def main(function: str, event: bytes) -> None:
    # An invocation may take Lambda's 15 minutes, and repeating it would do its work twice.
    config = botocore.config.Config(read_timeout=900, retries={"total_max_attempts": 1})
    client = botocore.session.get_session().create_client("lambda", config=config)
    name = f"{os.environ['TABLE_NAME'].removesuffix('-connections')}-{function}"
    try:
        result = client.invoke(FunctionName=f"{name}:live", Payload=event, LogType="Tail")
        answer = json.load(result["Payload"])
    except client.exceptions.ResourceNotFoundException:
        sys.exit(f"this stack has no function {function}: run scripts/local.sh up{' --auth' if function == 'authorizer' else ''}")
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        sys.exit(f"the stack could not invoke {function}: {error}")
    # As the function wrote it: MiniStack adds spaces.
    print(json.dumps(answer, ensure_ascii=False, separators=(",", ":")), flush=True)
    # There is none where the function did not start: then its answer holds what it has logged.
    log = base64.b64decode(result.get("LogResult", "")).decode(errors="replace")
    # At the level WARN, and of an authorizer, only one of the two shows it.
    refused = '"message":"refused"' in log or isinstance(answer, dict) and answer.get("statusCode", 200) >= 400
    if refused or "FunctionError" in result or '"message":"failed"' in log:
        print(log, file=sys.stderr)
        sys.exit(f"{function} {'refused the event' if refused else 'failed'}: its answer and log are above")


if __name__ == "__main__":
    main(*arguments(*sys.argv[1:]))
