"""Cases: what they are made of, and the text that they are written in. README.md describes it."""

from __future__ import annotations

import pathlib
import re
from dataclasses import dataclass, field

FLAGS = {
    # Looks at or changes more than its own keys: run by itself, on empty servers.
    "alone",
    # For one protocol only.
    "resp2", "resp3",
    # Leaves a connection that does not answer a PING any more.
    "mute",
}
HEADING = re.compile(r"== ([a-z0-9_|+.-]+)((?: [a-z0-9]+)*)\Z")
PREFIX = re.compile(r"(?:(\d)> )?(?:x(\d+) )?(=)? ?")
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
KEY = re.compile(r"([%^])([a-z][a-z0-9]*)")
REPEAT = re.compile(r"<(.+)\*(\d+)>\Z")


class FormatError(Exception):
    """A case is written wrongly; the text names the file and the line."""


@dataclass
class Command:
    """Sends words on a connection and reads some replies: none when they come later."""

    connection: int
    words: list[bytes]
    replies: int = 1
    # Whether the reply is compared as it came, although its command has a normaliser.
    exact: bool = False


@dataclass
class Raw:
    """Sends bytes as they are, and reads some replies."""

    connection: int
    data: bytes
    replies: int


@dataclass
class Read:
    """Reads replies that are due on a connection."""

    connection: int
    replies: int


@dataclass
class Wait:
    """Lets some time pass, so that what was sent before has arrived."""

    ms: int


@dataclass
class Close:
    """Ends a connection. The next step on it opens another."""

    connection: int


@dataclass
class State:
    """Reads all there is to know about a key: its type, value and time to live."""

    connection: int
    key: bytes


@dataclass
class Scan:
    """SCAN from the beginning to the end; the keys it gave, each once, are compared."""

    connection: int
    options: list[bytes]


@dataclass
class Case:
    """Steps that run on both sides. Their replies are to be the same."""

    name: str
    flags: set[str] = field(default_factory=set)
    steps: list = field(default_factory=list)
    where: str = ""

    def key(self, sign: str, name: str) -> str:
        """The keys `%a` of one case lie in one slot, its keys `^a` in slots of their own."""
        return f"{{{self.name}}}{name}" if sign == "%" else f"{name}:{self.name}"

    def with_keys(self, word: str) -> str:
        return KEY.sub(lambda found: self.key(*found.groups()), word)

    def add(self, line: str) -> None:
        """Adds the step that a line of text stands for."""
        number, replies, exact = PREFIX.match(line).groups()
        line = PREFIX.sub("", line, count=1)
        connection = int(number or 1)
        name, _, rest = line.partition(" ")
        if name == "READ":
            self.steps.append(Read(connection, int(rest)))
        elif name == "WAIT-MS":
            self.steps.append(Wait(int(rest)))
        elif name == "CLOSE":
            self.steps.append(Close(connection))
        elif name == "STATE":
            self.steps += [State(connection, self.with_keys(w).encode()) for w in rest.split()]
        elif name == "SCAN-ALL":
            options = [self._word(found) for found in WORD.finditer(rest)]
            self.steps.append(Scan(connection, options))
        elif name == "MANY-KEYS":
            pairs = [word for at in range(int(rest)) for word in (self.key("^", f"k{at}"), "v")]
            self.steps.append(Command(connection, [b"MSET", *(word.encode() for word in pairs)]))
        elif name == "RAW":
            data = self._word(WORD.match(rest))
            self.steps.append(Raw(connection, data, int(replies or 1)))
        else:
            words = [self._word(found) for found in WORD.finditer(line)]
            count = 1 if replies is None else int(replies)
            self.steps.append(Command(connection, words, count, exact is not None))

    def _word(self, found: re.Match) -> bytes:
        quoted, plain = found.groups()
        if quoted is not None:
            return quoted.encode().decode("unicode_escape").encode("latin-1")
        if repeat := REPEAT.match(plain):
            return self.with_keys(repeat[1]).encode() * int(repeat[2])
        return self.with_keys(plain).encode()


def load(folder: pathlib.Path) -> list[Case]:
    """The cases of all files of a folder; their names begin with the file's."""
    cases: list[Case] = []
    for path in sorted(folder.glob("*.case")):
        cases += _load_file(path)
    return cases


def _load_file(path: pathlib.Path) -> list[Case]:
    cases: list[Case] = []
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), start=1):
        where = f"{path.name}:{number}"
        if line.startswith("=="):
            heading = HEADING.match(line)
            flags = set(heading[2].split()) if heading else {"?"}
            if flags - FLAGS:
                raise FormatError(f"{where}: not a heading: {line}")
            cases.append(Case(f"{path.stem}.{heading[1]}", flags, where=where))
        elif line and not line.startswith("#"):
            if not cases:
                raise FormatError(f"{where}: a step before the first case")
            try:
                cases[-1].add(line)
            except (ValueError, AttributeError, IndexError) as error:
                raise FormatError(f"{where}: {line}: {error}") from None
    return cases
