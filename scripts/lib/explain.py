"""Asks an authorizer about the token on standard input: explain.py AUTHORIZER-ARN SESSION-OR-NOTHING."""

import base64
import json
import re
import sys
import textwrap
import time
from pathlib import Path

import botocore.config
import botocore.exceptions
import botocore.session

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/identity-providers.md"


def meaning(why: str) -> str:
    """What docs/identity-providers.md says of a word for a refusal."""
    row = re.search(rf"^\| `{re.escape(why)}` \| (.*) \|$", DOCUMENT.read_text(encoding="utf-8"), re.M)
    return row[1].replace(" | ", " ").replace("`", "") if row else f"{DOCUMENT.name} does not know this word"


def main() -> None:
    arn, session = sys.argv[1:]
    token = re.sub(r"^bearer\s+", "", sys.stdin.read().strip(), flags=re.I)
    question = {"explain": {"token": token, "session_id": session or None}}
    config = botocore.config.Config(read_timeout=60, retries={"total_max_attempts": 1})
    client = botocore.session.get_session().create_client("lambda", region_name=arn.split(":")[3], config=config)
    try:
        result = client.invoke(FunctionName=arn, Payload=json.dumps(question).encode(), LogType="Tail")
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        sys.exit(f"the authorizer could not be asked: {error}")
    answer = json.load(result["Payload"])
    log = base64.b64decode(result.get("LogResult", "")).decode(errors="replace")
    if "FunctionError" in result:
        sys.exit(f"the authorizer failed: {answer.get('errorMessage')}\n{log}")
    print(json.dumps(answer, ensure_ascii=False, indent=2), flush=True)
    if answer["admitted"]:
        left = answer["expires_at"] - time.time()
        print(f"admitted as {answer['session']}, for {left / 60:.0f} more minutes", file=sys.stderr)
        return
    # What the answer leaves out: the claim that it is about, or why there are no keys.
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    details = [line[key] for key in ("claim", "error") for line in lines if line.get("message") == "explained" and line.get(key)]
    text = f"not admitted, {answer['why']}{''.join(f' ({detail})' for detail in details)}: {meaning(answer['why'])}"
    sys.exit(textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False))


if __name__ == "__main__":
    main()
