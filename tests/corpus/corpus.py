"""Read and write the case files of this directory; README.md describes the format."""

from __future__ import annotations

import pathlib
import re
from dataclasses import dataclass, field

KNOWN_TAGS = {
    # what a case is about
    "proto", "inline", "pipeline", "cross-protocol", "eof", "command", "arity",
    "unknown", "hello", "resp3", "select", "client", "introspection", "multi",
    "pubsub", "script", "value",
    # how its outcome must be read
    "cluster-differs", "timing", "heavy", "hello-id", "hello-any", "c-string",
    "client-reply", "unique",
}
# Why a server may differ from redis-server.
EXCEPTIONS = {
    "refused": "a command that is not served yet; the reply says so",
    "one-database": "SELECT and MOVE answer as in a cluster, which has one database",
    "setinfo": "CLIENT SETINFO succeeds, as in Redis 7.2, since all client libraries send it",
    "own-connection": "it would need a server, or a connection to one, for itself; the reply says so",
    "closes": "after CLIENT REPLY OFF the proxy ends a connection that redis-server keeps, though dead",
}
REFUSAL = b"is not supported"
PLACEHOLDER = b"#" * 12
ESCAPES = {"r": 13, "n": 10, "t": 9, "0": 0, "\\": 92, '"': 34, "{": 123}
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
HELLO_BODY = re.compile(rb"\$6\r\nserver\r\n.*?\$7\r\nmodules\r\n\*0\r\n", re.S)
HELLO_ID = re.compile(rb"(\$2\r\nid\r\n:)[0-9]+(\r\n)")
RUN = re.compile(rb"(.{1,24}?)\1{19,}", re.S)


# What the proxy takes for no client of Redis: it closes such a connection within a second when the
# first line on it does not end, while redis-server waits for ever.
FOREIGN = re.compile(rb"[^\t\r\n -~]")


class FormatError(Exception):
    """A case file breaks the format; the text names file and line."""


@dataclass
class Case:
    """One case: the steps to perform on one fresh connection."""

    name: str
    tags: set[str] = field(default_factory=set)
    note: str = ""
    steps: list[tuple[str, bytes | int]] = field(default_factory=list)
    eof: bool = False

    def payload(self) -> bytes:
        """All bytes the case sends, without its pauses."""
        return b"".join(value for kind, value in self.steps if kind == "send")

    def has_pause(self) -> bool:
        return any(kind == "pause" for kind, _ in self.steps)

    def normalize(self, reply: bytes) -> bytes:
        """Replace what may differ: hello-id the client id, hello-any the fields of HELLO."""
        if "hello-any" in self.tags:
            return HELLO_BODY.sub(b"(hello)", reply)
        if "hello-id" in self.tags:
            return HELLO_ID.sub(rb"\1N\2", reply)
        return reply


@dataclass
class Outcome:
    """What one delivery of a case produced."""

    reply: bytes
    closed: bool

    def show(self) -> str:
        text = encode(self.reply)
        if len(text) > 400:
            text = f"{text[:300]} ...({len(self.reply)} bytes)... {text[-80:]}"
        return f"{text or '(nothing)'} [{'closed' if self.closed else 'open'}]"


def agree(case: Case, one: Outcome, other: Outcome, may_close: bool) -> bool:
    """Whether they are the same, but that a foreign connection may be closed where it says so."""
    is_closed_only = one.reply == other.reply and FOREIGN.search(case.payload())
    return one == other or bool(may_close and is_closed_only)


def decode(text: str) -> bytes:
    """Turn the escaped form into bytes."""
    out, end = _decode_until(text, 0, None)
    assert end == len(text)
    return out


def _decode_until(text: str, at: int, stop: str | None) -> tuple[bytes, int]:
    out = bytearray()
    while at < len(text):
        char = text[at]
        if char == stop:
            return bytes(out), at
        if not " " <= char <= "~":
            raise FormatError(f"byte {char!r} must be escaped")
        if char == "\\":
            value, at = _decode_escape(text, at + 1)
            out.append(value)
        elif char == "{" and stop is None:
            piece, at = _decode_repeat(text, at)
            out += piece
        else:
            out.append(ord(char))
            at += 1
    if stop is not None:
        raise FormatError(f"missing {stop}")
    return bytes(out), at


def _decode_escape(text: str, at: int) -> tuple[int, int]:
    char = text[at : at + 1]
    if char == "x":
        digits = text[at + 1 : at + 3]
        if not re.fullmatch("[0-9a-fA-F]{2}", digits):
            raise FormatError(f"bad \\x escape {digits!r}")
        return int(digits, 16), at + 3
    if char not in ESCAPES:
        raise FormatError(f"unknown escape \\{char}")
    return ESCAPES[char], at + 1


def _decode_repeat(text: str, at: int) -> tuple[bytes, int]:
    if text[at : at + 2] != '{"':
        raise FormatError('a literal { must be written \\{')
    piece, at = _decode_until(text, at + 2, '"')
    count = re.compile(r'"\*([0-9]+)\}').match(text, at)
    if not count:
        raise FormatError('a repeat must look like {"A"*70000}')
    return piece * int(count.group(1)), count.end()


def encode(data: bytes) -> str:
    """The escaped form of data; 20 and more equal pieces in a row become a repeat."""
    out, at = [], 0
    for run in RUN.finditer(data):
        out.append(_encode_plain(data[at : run.start()]))
        unit = run.group(1)
        out.append('{"%s"*%d}' % (_encode_plain(unit), len(run.group(0)) // len(unit)))
        at = run.end()
    out.append(_encode_plain(data[at:]))
    return "".join(out)


def _encode_plain(data: bytes) -> str:
    named = {value: "\\" + key for key, value in ESCAPES.items()}
    return "".join(
        named.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}")
        for byte in data
    )


def blocks(path: pathlib.Path):
    """Yield each block of a file as a list of (key, value, line number)."""
    block: list[tuple[str, str, int]] = []
    lines = path.read_text(encoding="ascii").split("\n")
    for number, line in enumerate(lines + [""], start=1):
        if line.startswith("#"):
            continue
        if not line:
            if block:
                yield block
            block = []
            continue
        key, colon, value = line.partition(":")
        if not colon or (value and not value.startswith(" ")) or line != line.rstrip():
            raise FormatError(f"{path}:{number}: expected 'key: value' without trailing space")
        block.append((key, value[1:], number))


def _parse_case(path: pathlib.Path, block) -> Case:
    case = Case(name="")
    for index, (key, value, number) in enumerate(block):
        try:
            if (key == "case") != (index == 0):
                raise FormatError("a block starts with its only 'case' line")
            _apply(case, key, value)
        except FormatError as error:
            raise FormatError(f"{path}:{number}: {error}") from None
    if not case.steps or not case.tags:
        raise FormatError(f"{path}:{block[0][2]}: {case.name} needs 'tags' and 'send'")
    return case


def _apply(case: Case, key: str, value: str) -> None:
    if key == "case":
        if not NAME.match(value):
            raise FormatError(f"bad case name {value!r}")
        case.name = value
    elif key == "tags":
        case.tags = set(value.split())
        if case.tags - KNOWN_TAGS:
            raise FormatError(f"unknown tags {sorted(case.tags - KNOWN_TAGS)}")
    elif key == "note":
        case.note = f"{case.note} {value}".strip()
    elif key == "send":
        case.steps.append(("send", decode(value)))
    elif key == "pause":
        case.steps.append(("pause", int(value)))
    elif key == "eof" and value == "yes":
        case.eof = True
    else:
        raise FormatError(f"unknown line {key}: {value}")


def load_cases(directory: pathlib.Path) -> list[Case]:
    """All cases of all *.case files, in file name order; names must be unique."""
    cases: dict[str, Case] = {}
    for path in sorted(directory.glob("*.case")):
        for block in blocks(path):
            case = _parse_case(path, block)
            if case.name in cases:
                raise FormatError(f"{path}: second case named {case.name}")
            cases[case.name] = case
    return list(cases.values())


def load_expected(path: pathlib.Path) -> dict[str, Outcome]:
    """The outcomes recorded in an expected/*.txt file."""
    outcomes = {}
    for block in blocks(path):
        values = {key: value for key, value, _ in block}
        outcomes[values["case"]] = Outcome(decode(values["reply"]), values["closed"] == "yes")
    return outcomes


def load_exceptions(path: pathlib.Path, expected: dict[str, Outcome]) -> dict[str, Outcome]:
    """The outcomes in which a server differs from those expected, each for a known reason."""
    outcomes = {}
    for block in blocks(path):
        values = {key: value for key, value, _ in block}
        name, why = values["case"], values.get("why")
        where = f"{path}:{block[0][2]}: {name}"
        outcome = Outcome(decode(values["reply"]), values["closed"] == "yes")
        if name not in expected or name in outcomes:
            raise FormatError(f"{where} is no case, or here twice")
        if outcome == expected[name]:
            raise FormatError(f"{where} is no exception any more: remove it")
        if why not in EXCEPTIONS:
            raise FormatError(f"{where} has no reason that is known")
        if (why == "refused") != (REFUSAL in outcome.reply):
            raise FormatError(f"{where}: 'refused' goes with the refusal in the reply")
        outcomes[name] = outcome
    return outcomes


def save_expected(
    path: pathlib.Path, title: str, outcomes: dict[str, Outcome], with_reason: bool = False
) -> None:
    """Write outcomes in the form load_expected reads, or load_exceptions with a reason."""
    parts = [f"# {title}\n"]
    for name, outcome in outcomes.items():
        reply = encode(outcome.reply)
        if reply.startswith(" ") or reply.endswith(" "):
            raise FormatError(f"{name}: reply with outer blanks cannot be recorded")
        line = f"reply: {reply}".rstrip()
        closed = "yes" if outcome.closed else "no"
        why = "refused" if REFUSAL in outcome.reply else "?"
        reason = f"why: {why}\n" if with_reason else ""
        parts.append(f"case: {name}\n{reason}{line}\nclosed: {closed}\n")
    path.write_text("\n".join(parts), encoding="ascii")
