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
    """The explanation of a refusal's code in docs/identity-providers.md."""
    row = re.search(rf"^\| `{re.escape(why)}` \| (.*) \|$", DOCUMENT.read_text(encoding="utf-8"), re.M)
    return row[1].replace(" | ", " ").replace("`", "'") if row else f"{DOCUMENT.name} does not know this word"


def payload(token: str) -> dict:
    """The token's claims, unverified, for the terminal of its holder; empty if they cannot be read."""
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return claims if isinstance(claims, dict) else {}
    except (IndexError, ValueError):
        return {}


def value(claims: object, name: str) -> object:
    for part in name[1:].split("/") if name.startswith("/") else [name]:
        part = part.replace("~1", "/").replace("~0", "~") if name.startswith("/") else part
        claims = claims.get(part) if isinstance(claims, dict) else None
    return claims


# The claim that a code is about, if the authorizer does not name one.
ABOUT = {"wrong_issuer": "iss", "expired": "exp", "not_yet_valid": "nbf"}


def fact(why: str, claim: "str | None", claims: dict) -> str:
    claim = claim or ABOUT.get(why)
    if not claim or (found := value(claims, claim)) is None:
        return claim or ""
    if claim in ("exp", "nbf") and isinstance(found, (int, float)):
        found = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(max(0, min(found, 253402300799))))
    return f"{claim}: {json.dumps(found, ensure_ascii=False)}"


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
    # The log has details that the answer lacks: the claim, or why there are no keys.
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    line = next((line for line in lines if line.get("message") == "explained"), {})
    details = [detail for detail in (fact(answer["why"], line.get("claim"), payload(token)), line.get("error")) if detail]
    text = f"not admitted, {answer['why']}{''.join(f' ({detail})' for detail in details)}: {meaning(answer['why'])}"
    sys.exit(textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False))


if __name__ == "__main__":
    main()
