"""Tests of the variable `auth`: which issuers it accepts, those of docs/identity-providers.md among them, and how it refuses others.

    cd tests && python3 -m unittest test_issuers
"""

import json
import re
import shutil
import tempfile
import unittest

from test_module import INFRA, ROOT, read, terraform, write

KEYS = "https://keys.example.com/"
CLAIMS = [f"{name}_claim" for name in ("audience", "session", "send", "subscribe")]
# What a refusal says, the setting that it names, and what an issuer has that is refused so.
REFUSED_ISSUERS = [
    *(("must be exactly the iss of the tokens", ".issuer", {"issuer": text, "jwks_url": KEYS}) for text in
      (None, "", " ", "my-app ", "\n", "\u00a0my-app", "my\u0085app", "my\u0007app")),
    ("must be exactly the iss of the tokens", ".issuer", {"issuer": " https://login.example.com/"}),
    *(("set jwks_url, because the keys cannot be discovered from this issuer", "", {"issuer": text}) for text in
      ("accounts.example.com", "urn:a", "https://", "https:///a", "https://:443/", "HTTPS://a", "https://a b/", "https://a?", "https://a/?b", "https://a/#", "https://u@a/",
       "https://u:p@a/", "https://a:x/", "https://a:65536/", "https://{tenant}.example.com/", "https://a/<tenant>/v2.0", "https://b\u00fccher.example/", "http://a", "http://127.0.0.1.example.com", "http://127.0.0.10/", "http://localhost:1@a/", "http://169.254.169.254/")),
    *(("must be an https:// URL without a fragment, user or placeholder", ".jwks_url", {"jwks_url": text}) for text in
      ("", "keys", "http://a/", "https://", "https:///a", "https://u@a/", "https://a:1@b/", "https://a:0/", "https://a/{tenant}", 'https://a?"', "https://a/#b", "https://a/ b", "https://a/\u0007")),
    *(("must be a list of at least one audience", ".audiences", {"audiences": some}) for some in (None, [], [""], ["chat", " "], [None])),
    *(("must not be empty: write the name of a claim", f".{name}", {name: text}) for name in CLAIMS for text in ("", " \t")),
    *(("must be a valid JSON pointer", f".{name}", {name: text}) for name in CLAIMS for text in ("/~", "/a~b", "/a/~2", "/~0~", "/a\n~")),
]  # fmt: skip
ACCEPTED_ISSUERS = [
    *({"issuer": text} for text in ("https://a", "https://a/", "https://a:65535/b/v2.0/", "https://a/b@c", "http://localhost", "http://127.0.0.1:8081/mobile")),
    *({"issuer": text, "jwks_url": KEYS} for text in ("a", "my app", "my-app", "http://a/", "https://a?b#c", "https://login.example.com/é")),
    *({"jwks_url": text} for text in ("https://a", "https://a?b=c@d", "http://localhost:1/a", f"{KEYS}a/b@c.example.com")),
    *({name: text} for name in CLAIMS for text in (None, "a", "a~", "https://a/~b", "/", "/a/b", "/~0/~1~01")),
    {"patterns": True, "jwks_url": KEYS, "audiences": ["chat", "chat-mobile"]},
    {"patterns": None, "jwks_url": None},
]


def documented() -> list:
    """The blocks of docs/identity-providers.md, which are HCL whose values are JSON: one for each issuer, of which one has two."""
    blocks = re.findall(r"^```hcl\n\{\n(.*?)^\}$", read(f"{ROOT}/docs/identity-providers.md"), re.M | re.S)
    settings = ({name.strip(): json.loads(value) for name, _, value in (line.partition("=") for line in block.splitlines())} for block in blocks)
    return list({one["issuer"]: one for one in settings}.values())


class Issuers(unittest.TestCase):
    def test_one_plan_names_each_refused_setting_of_each_issuer(self) -> None:
        """All at once: a refusal must name each issuer that breaks its rule, and no other."""
        of_providers = documented()
        assert len(of_providers) == 10, of_providers
        accepted = ACCEPTED_ISSUERS + of_providers
        some = [("", "", one) for one in accepted] + REFUSED_ISSUERS
        entries = [{"issuer": f"https://login.example.com/{index}", "audiences": ["chat"], **one} for index, (_, _, one) in enumerate(some)]
        entries += [{"issuer": "https://a", "audiences": ["chat-mobile"]}]
        with tempfile.TemporaryDirectory() as folder:
            # The variables by themselves need no provider.
            shutil.copy(f"{INFRA}/variables_access.tf", folder)
            write(f"{folder}/terraform.tfvars.json", json.dumps({"auth": {"issuers": entries}}))
            lines = terraform(folder, "plan", "-json", "-input=false", codes=(1,)).splitlines()
        said = [line["diagnostic"]["detail"] for line in map(json.loads, lines) if "diagnostic" in line]

        def of(reason: str) -> str:
            texts = [text for text in said if reason in text]
            assert len(texts) == 1, f"'{reason}' is said {len(texts)} times: {said}"
            return texts[0]

        reasons = {reason for reason, _, _ in REFUSED_ISSUERS}
        for reason in reasons:
            expected = {f"auth.issuers[{index}]{setting}" for index, (why, setting, _) in enumerate(some) if why == reason}
            named = set(re.findall(r"auth\.issuers\[[0-9]+\](?:\.[a-z_]+)?", of(reason)))
            assert named == expected, f"'{reason}' is also said of {sorted(named - expected)}, and not of {sorted(expected - named)}"
        assert 'more than once: "https://a".' in of("auth must have one entry for each issuer"), said
        defaults = {"audience_claim": "aud", "session_claim": "session_id", "send_claim": "send_to", "subscribe_claim": "subscribe_to", "patterns": False}
        nothing = {"issuer": None, "audiences": None, "jwks_url": None}
        whole = [nothing | defaults | {name: value for name, value in entry.items() if value is not None} for entry in entries]
        text = json.dumps(whole, separators=(",", ":"), ensure_ascii=False)
        # As jsonencode has them.
        size = len(re.sub("[<>&]", lambda sign: f"\\u{ord(sign[0]):04x}", text).encode())
        assert f"takes {size} bytes" in of("bytes as JSON"), f"{size}: {said}"
        assert len(said) == len(reasons) + 2, said


if __name__ == "__main__":
    unittest.main()
