"""The local stack: MiniStack, the hub that Terraform makes on it, the page, and with --auth an issuer of tokens.

scripts/local.sh says what the commands do, prepares the tools, and starts this.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import time
import webbrowser
from pathlib import Path
from urllib.parse import quote

from processes import Process, die, end_at_interrupts, ignore_interrupts, run, say

ROOT = Path(__file__).resolve().parents[2]
LIB = ROOT / "scripts/lib"
INFRA = ROOT / "infra/environments/local"
PYTHON = ROOT / ".venv/bin/python"
REGION = json.loads((INFRA / "environment.json").read_text())["region"]

# Everything that a stack writes is in this folder. The lock marks it as a stack's: no other folder is ever removed.
STATE = Path(os.environ.get("HUB_STATE_DIR") or ROOT / ".local").absolute()
LOCK = STATE / "hub.lock"
VARIABLES = STATE / "local.tfvars.json"
APPLIED = STATE / "applied"
OUTPUTS = STATE / "outputs.json"  # It exists once the hub is complete.

MINISTACK = Process(STATE, "MiniStack", 4566)
PAGE = Process(STATE, "page", 8080)
ISSUER = Process(STATE, "issuer", 8081)


def claim() -> None:
    """Takes the folder, until this command and those that it runs have ended."""
    if not LOCK.exists() and STATE.is_dir() and any(STATE.iterdir()):
        die(f"{STATE} is in use for something else: name an empty or a new folder with HUB_STATE_DIR")
    for attempt in itertools.count():
        STATE.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(LOCK, os.O_WRONLY | os.O_CREAT, 0o666)
            os.set_inheritable(lock, True)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Its last holder may have removed it: a lock on a file that is no longer there excludes no other command.
                if os.path.samestat(os.fstat(lock), os.stat(LOCK)):
                    return
            os.close(lock)
        if attempt == 0:
            say(f"waiting for another script that is at work (it holds {LOCK})")
        time.sleep(0.5)


def discard() -> None:
    """Stops everything and removes the folder, in one step for a command that waits for its lock."""
    for process in (PAGE, ISSUER, MINISTACK):
        process.stop()
    shutil.rmtree(STATE.rename(f"{STATE}.removed.{os.getpid()}"))


def aws_settings() -> dict:
    return {
        "AWS_ENDPOINT_URL": MINISTACK.address(), "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }  # fmt: skip


def healthy(patience: float = 5) -> bool:
    """Whether this stack's MiniStack answers: another stack may have taken its port."""
    # Slow to import, and most commands do without.
    from http.client import HTTPConnection, HTTPException

    try:
        connection = HTTPConnection(MINISTACK.address().removeprefix("http://"), timeout=patience)
        connection.request("GET", "/_ministack/health")
        return json.load(connection.getresponse())["edition"] == str(STATE) and MINISTACK.alive()
    except (OSError, ValueError, HTTPException):
        return False


def start_ministack() -> None:
    port = MINISTACK.choose_port()
    say(f"starting MiniStack on port {port}")
    files = STATE / "tmp"
    files.mkdir(exist_ok=True)
    # The functions inherit this environment, so it holds none of the user's settings.
    environment = aws_settings() | {
        "PATH": os.environ["PATH"], "LANG": "C.UTF-8", **dict.fromkeys(("HOME", "TMPDIR", "STATE_DIR", "S3_DATA_DIR"), str(files)),
        "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": port, "MINISTACK_REGION": REGION, "MINISTACK_EDITION": str(STATE), "AUTH": "true",
        # Otherwise MiniStack opens more ports, and removes the user's containers.
        "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0", "DOCKER_HOST": f"unix://{STATE}/none",
        # Each concurrent invocation is a process, and above this number it is refused, as AWS does above 1000. A cold start takes
        # some 50 ms of a processor: with more at once, a small machine would start them all and finish none in time.
        "LAMBDA_ACCOUNT_CONCURRENCY": str(50 * (os.cpu_count() or 1)),
    }  # fmt: skip
    MINISTACK.start(PYTHON, LIB / "emulator.py", environment=environment, ready=healthy)


def serve(process: Process, *command: object) -> None:
    if not process.alive():
        process.stop()
        process.start(PYTHON, *command, process.choose_port(), environment=dict(os.environ), ready=process.listens)


def fingerprint(zips: Path) -> str:
    """A digest of all that an apply reads. Its state is part of that, so that a `terraform destroy` is noticed."""
    digest = hashlib.sha256()
    terraform_files = [path for pattern in ("infra/*.tf", "infra/modules/**/*", "infra/environments/local/*") for path in ROOT.glob(pattern)]
    for path in sorted([*terraform_files, zips / "release.json", *zips.glob("*/bootstrap.zip"), VARIABLES, STATE / "terraform.tfstate"]):
        if path.is_file():
            digest.update(f"{path}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def terraform(*arguments: str, output: Path) -> None:
    # Not in the environment's folder, which all stacks share.
    environment = {**os.environ, **aws_settings(), "TF_DATA_DIR": f"{STATE}/terraform"}
    with open(output, "wb") as stdout, open(STATE / "terraform.errors", "w+b") as stderr:
        if run("terraform", f"-chdir={INFRA}", *arguments, env=environment, stdout=stdout, stderr=stderr):
            stderr.seek(0)
            die(f"{output.read_text()}{stderr.read().decode()}\nTerraform failed: see above")


def apply(zips: Path) -> None:
    architecture = platform.machine().replace("aarch64", "arm64")
    VARIABLES.write_text(json.dumps({"architecture": architecture, "artifacts_dir": str(zips), "issuer": ISSUER.address() if ISSUER.started() else None}))
    if APPLIED.exists() and APPLIED.read_text() == fingerprint(zips):
        return say("nothing has changed")
    say("applying the Terraform (the first time takes half a minute)")
    log, draft = STATE / "terraform.log", STATE / "outputs.new"
    terraform("init", "-input=false", "-no-color", "-lockfile=readonly", f"-backend-config=path={STATE}/terraform.tfstate", output=log)
    terraform("apply", "-input=false", "-no-color", "-auto-approve", f"-var-file={VARIABLES}", output=log)
    terraform("output", "-json", "hub", output=draft)
    draft.rename(OUTPUTS)
    APPLIED.write_text(fingerprint(zips))


def outputs() -> dict:
    return json.loads(OUTPUTS.read_text())


def page(session: str) -> str:
    return f"{PAGE.address()}/page/?url={outputs()['websocket_url']}&session={quote(session, safe='')}"


def print_addresses() -> None:
    found = {"page": page("demo"), "websocket": outputs()["websocket_url"], "connections": outputs()["connections_endpoint"]}
    for name, address in (found | ({"issuer": ISSUER.address()} if ISSUER.started() else {})).items():
        print(f"{name:12} {address}")


def up(*options: str) -> None:
    if unknown := set(options) - {"--release", "--auth"}:
        die(f"unknown argument {unknown.pop()}: see --help")
    claim()
    crashed = MINISTACK.started() and not healthy(patience=30)
    was_up = OUTPUTS.exists() and not crashed
    try:
        if crashed:
            say(f"MiniStack has died, and its data is lost: starting afresh\n{MINISTACK.end_of_log(5)}")
            MINISTACK.stop()
            shutil.rmtree(STATE / "tmp")
            for path in (APPLIED, OUTPUTS, MINISTACK.log, *STATE.glob("terraform.tfstate*")):
                path.unlink(missing_ok=True)
        quick = [] if "--release" in options else ["--profile", "local"]
        if code := run(ROOT / "scripts/build.sh", "--arch", "host", *quick, stdout=subprocess.DEVNULL):
            sys.exit(code)
        if not MINISTACK.started():
            start_ministack()
        if "--auth" in options:
            serve(ISSUER, LIB / "issuer.py", "serve", STATE / "issuer.key")
        elif ISSUER.started():
            say("the hub no longer asks for tokens: run scripts/local.sh up --auth if it should")
            ISSUER.stop()
        apply(ROOT / ("target/lambda-local" if quick else "target/lambda"))
        serve(PAGE, LIB / "page.py", ROOT / "web")
    except BaseException:
        # A stack that does not come up leaves nothing behind; one that was up before stays as it is.
        if not was_up:
            ignore_interrupts()
            discard()
        raise
    print_addresses()


def down() -> None:
    if not LOCK.exists():
        return say("not running")
    claim()
    ignore_interrupts()
    discard()


def status() -> None:
    if not LOCK.exists():
        print("not running")
        sys.exit(3)
    found = {}
    if not MINISTACK.alive():
        found["MiniStack"] = f"crashed: see {MINISTACK.log}, then run scripts/local.sh up" if MINISTACK.started() else "not started yet"
    elif not healthy():
        found["MiniStack"] = "does not answer: run scripts/local.sh up, which starts afresh"
    else:
        found |= {"MiniStack": "running", "hub": "running" if OUTPUTS.exists() else "not set up yet"}
    if ISSUER.started():
        found["issuer"] = "running" if ISSUER.alive() else "stopped: run scripts/local.sh up --auth"
    found["page"] = "running" if PAGE.alive() else "stopped: run scripts/local.sh up"
    for name, state in found.items():
        print(f"{name:12} {state}")
    if set(found.values()) != {"running"}:
        sys.exit(1)
    print_addresses()


def need_up() -> None:
    if not MINISTACK.started():
        die("the local stack is not up: run scripts/local.sh up")
    if not MINISTACK.alive():
        die(f"MiniStack has died (its log is {MINISTACK.log}): run scripts/local.sh up, which starts afresh")
    if not OUTPUTS.exists():
        die("the local stack is not ready yet: wait for scripts/local.sh up, or run it again")


def environment() -> dict:
    """What leads to the stack, with None for what the user has set for AWS and Terraform: it must not leak in, nor lead out."""
    need_up()
    users = [name for name in os.environ if name.startswith(("AWS_", "TF_")) and not name.startswith(("TF_PLUGIN_", "TF_CLI_CONFIG_FILE"))]
    hub = outputs()
    found = {"TABLE_NAME": hub["table_name"], "HUB_URL": hub["websocket_url"], "WEBSOCKET_ENDPOINT": hub["connections_endpoint"]}
    for name in ("NO_PROXY", "no_proxy"):
        found[name] = ",".join(dict.fromkeys(["127.0.0.1", *filter(None, os.environ.get(name, "").split(","))]))
    return dict.fromkeys(users) | aws_settings() | found


def env() -> None:
    for name, value in environment().items():
        print(f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}")


def logs(*arguments: str) -> None:
    settings = {name: value for name, value in (os.environ | environment()).items() if value is not None}
    os.execve(PYTHON, [PYTHON, LIB / "logs.py", OUTPUTS, *arguments], settings)


def token(*arguments: str) -> None:
    if "--help" not in arguments:
        need_up()
        if not ISSUER.started():
            die("this stack asks for no token: run scripts/local.sh up --auth")
        if not ISSUER.alive():
            die(f"the issuer has died (its log is {ISSUER.log}): run scripts/local.sh up --auth")
    issuer = ISSUER.address() if ISSUER.started() else ""
    os.execv(PYTHON, [PYTHON, LIB / "issuer.py", "token", STATE / "issuer.key", issuer, *arguments])


def open_page(session: str = "demo") -> None:
    need_up()
    if not PAGE.alive():
        die("the page is not served: run scripts/local.sh up")
    print(page(session), flush=True)
    if not webbrowser.open(page(session)):
        say("no browser can be started from here: open that address in one")


def client(session: str = "-", *arguments: str) -> None:
    if session.startswith("-"):
        die("client takes a session: scripts/local.sh client alice --room room-7")
    need_up()
    settings = os.environ | {"HUB_TOKEN": "", "PYTHONPATH": f"{ROOT}/clients/python/src"}
    if ISSUER.started():
        command = [sys.executable, __file__, "token", "--session", session, "--send-to", "*", "--subscribe-to", "*"]
        signed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        settings["HUB_TOKEN"] = signed.stdout.strip() or sys.exit(signed.returncode)
    address = f"{outputs()['websocket_url']}?session_id={quote(session, safe='')}"
    os.execve(PYTHON, [PYTHON, "-X", "utf8", "-m", "websocket_hub", address, *arguments], settings)


def output(name: str = "") -> None:
    need_up()
    hub = outputs()
    if name not in hub:
        die(f"output takes one of these names: {', '.join(sorted(hub))}")
    print(hub[name] if isinstance(hub[name], str) else "" if hub[name] is None else json.dumps(hub[name]))


COMMANDS = {"up": up, "down": down, "status": status, "logs": logs, "open": open_page, "client": client, "output": output, "token": token, "env": env}

if __name__ == "__main__":
    end_at_interrupts()
    command, *rest = sys.argv[1:]
    if command == "url":
        command, rest = "output", ["websocket_url"]
    if command not in COMMANDS:
        die(f"unknown command {command}: see --help")
    if len(rest) > {"down": 0, "status": 0, "env": 0, "open": 1, "output": 1}.get(command, len(rest)):
        die(f"too many arguments for {command}: see --help")
    try:
        COMMANDS[command](*rest)
    except BrokenPipeError:
        # The reader, `head` say, has ended. Nothing may be written any more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(128 + signal.SIGPIPE)
