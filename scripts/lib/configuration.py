"""Writes the tables of docs/configuration.md from the variables and outputs of infra; with --check, fails where the page differs.

The files must be formatted by `terraform fmt`. An error message that begins `<variable> must` gives the allowed values.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/configuration.md"
BEGIN, END = "<!-- scripts/lib/configuration.py writes from here -->\n", "<!-- to here -->\n"
FILES = [f"variables{group}.tf" for group in ("", "_access", "_messages", "_capacity", "_observability", "_deployment")]
# Code in descriptions that do not mark it: placeholders, names with an underscore, attributes of fanout, addresses.
CODE = r"\{\w+\}[\w-]*|<\w+>|\b[a-z]+_\w+(?:\.\w+)?(?: = \w+)?|\bfanout\.\w+(?: = \w+)?|\b(?:https?|wss)://[^\s,)]*"


class Row(NamedTuple):
    name: str
    type: str
    default: str
    description: str


def blocks(text: str, kind: str) -> list[tuple[str, str]]:
    return re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}', text, re.M | re.S)


def description(body: str) -> tuple[str, dict[str, str]]:
    """The text, and that of each attribute, which is an item of its list."""
    if heredoc := re.search(r"^  description = <<-EOT\n(.*?)^  EOT", body, re.M | re.S):
        lines = [line.strip() for line in heredoc[1].splitlines() if line.strip()]
        items = dict(line[2:].split(": ", 1) for line in lines if line.startswith("- "))
        return " ".join(line for line in lines if not line.startswith("- ")), items
    return re.search(r'^  description = "(.*)"$', body, re.M)[1].replace('\\"', '"'), {}


def attributes(declaration: str) -> list[tuple[str, str, str]]:
    """Path, type and default of each attribute of an object, and of the objects in its lists."""
    path, found = [], []
    for line in declaration.splitlines():
        if match := re.fullmatch(r" *([\w-]+) += (list\()?object\({", line):
            path.append(match[1] + ("[]" if match[2] else ""))
        elif match := re.fullmatch(r" +([\w-]+) += (?:optional\((.*?)(?:, (.*))?\)|(.*))", line):
            found.append((".".join([*path, match[1]]), match[2] or match[4], "required" if match[4] else match[3] or "null"))
        elif path and "}" in line:
            path.pop()
    return found


def row(name: str, kind: str, default: str, text: str) -> Row:
    """Where the default is null, the end of the description says what that means."""
    text, _, meaning = text.rstrip(".").partition(" Default: ")
    if default not in ("null", "required"):
        default = f"`{default.strip(chr(34))}`"
    return Row(name, kind, meaning if default == "null" else default, f"{text[0].upper()}{text[1:].rstrip('.')}.")


def rows(name: str, body: str) -> list[Row]:
    """The variable, and each of its attributes that has a description; the others are listed with their defaults."""
    text, items = description(body)
    declared = re.search(r"^  type += (.*\n(?:    .*\n|  [})]+\n)*)", body, re.M)[1]
    default = re.search(r"^  default += (.*)$", body, re.M)
    own = row(name, "object" if "object(" in declared else declared.strip(), default[1] if default else "required", text)
    parts = [(path, kind, value, items.get(path.split(".")[-1])) for path, kind, value in attributes(declared)]
    listed = ", ".join(f"{path} `{value}`" for path, _, value, item in parts if not item)
    return [own._replace(default=listed or own.default), *(row(f"{name}.{path}", kind, value, item) for path, kind, value, item in parts if item)]


def allowed(name: str, names: set[str], body: str) -> dict[str, list[str]]:
    """The rules for each row; a rule for a part without a row is the variable's."""
    found: dict[str, list[str]] = {one: [] for one in names}
    for message in re.findall(r'^    error_message = "(.*)"$', body, re.M):
        match = re.match(r"([\w.]+) must (.*)", message) or re.match(r'\$\{.*?"(auth[^"]*)".*\)\} must (.*)', message)
        if not match and "${" not in message:
            sys.exit(f"configuration.py: begin this error message with '<variable> must': {message}")
        path = match[1].replace("[${index}]", "[]") if match else "${"
        if "${" not in path:
            rule = re.split(r": |; |\. |\.$", re.sub(r"^(not )?(?:be|have) ", r"\1", match[2].replace('\\"', '"')))[0]
            found[path if path in names else name].append(rule if path in names else f"{path.removeprefix(f'{name}.')} {rule}")
    return found


def cell(text: str) -> str:
    parts = re.split("(`[^`]*`)", text)
    parts[::2] = [re.sub(r"docs/([\w-]+\.md)", r"[\1](\1)", re.sub(CODE, r"`\g<0>`", part)) for part in parts[::2]]
    return "".join(parts).replace("|", "\\|")


def table(*lines: list[str]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in [lines[0], ["---"] * len(lines[0]), *lines[1:]])


def variables(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    title, _, about = re.match(r"# (.*)\.\n", text)[1].partition(": ")
    lines = [["variable", "type", "default", "allowed values", "description"]]
    for name, body in blocks(text, "variable"):
        entries = rows(name, body)
        rules = allowed(name, {one.name for one in entries}, body)
        lines += [[f"`{one.name}`", one.type, cell(one.default), cell("; ".join(rules[one.name])), cell(one.description)] for one in entries]
    return f"\n### {title}\n\n{about[0].upper()}{about[1:]}.\n\n{table(*lines)}"


def generated() -> str:
    found = {path.name for path in ROOT.glob("infra/*.tf") if blocks(path.read_text(encoding="utf-8"), "variable")}
    if found != set(FILES):
        sys.exit(f"configuration.py: FILES must list the files with variables; it differs in {found ^ set(FILES)}")
    outputs = blocks((ROOT / "infra/outputs.tf").read_text(encoding="utf-8"), "output")
    return "".join(variables(ROOT / "infra" / name) for name in FILES) + "\n## Outputs\n\n" + table(["output", "description"], *([f"`{name}`", cell(description(body)[0])] for name, body in outputs)) + "\n"


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    stale, _, after = rest.partition(END)
    if sys.argv[1:] == ["--check"]:
        sys.exit(None if stale == generated() else "docs/configuration.md is out of date: run python3 scripts/lib/configuration.py")
    PAGE.write_text(before + BEGIN + generated() + END + after, encoding="utf-8")
