#!/usr/bin/env python3
"""Send every line of commands.txt through the proxy and to one redis-server, in RESP2 and RESP3,
and compare the replies byte for byte.

commands.py PROXY REFERENCE [--node] --empty HOST:PORT...

Addresses are HOST:PORT. Both sides have to be empty: those named by --empty, the nodes behind the
proxy and the reference, get a FLUSHALL before each of the two runs. With --node, Slotway's own
nodes are behind the proxy: in sections `not in node` they may refuse commands.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import socket
import sys
from dataclasses import dataclass

sys.dont_write_bytecode = True

import corpus

HERE = pathlib.Path(__file__).resolve().parent
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
NODE_REFUSES = re.compile(rb"-ERR '[a-z|_]+' is not supported by this node yet\r\n\Z")
TIMEOUT_S = 10.0


@dataclass
class Line:
    """One command of commands.txt."""

    number: int
    section: str
    text: str
    words: list[bytes]
    # Whether the elements of the reply come in no order.
    unordered: bool
    # What the proxy answers instead of what redis-server does.
    proxy: bytes | None = None


class Section:
    """A heading, and what Slotway's own nodes refused below it."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.not_in_node = title.endswith("; not in node")
        self.refused = 0


def load(path: pathlib.Path) -> tuple[list[Line], dict[str, Section]]:
    lines: list[Line] = []
    sections: dict[str, Section] = {}
    title = ""
    for number, text in enumerate(path.read_text(encoding="ascii").splitlines(), start=1):
        if text.startswith("["):
            title = text.strip("[]")
            sections[title] = Section(title)
        elif text.startswith("proxy: "):
            lines[-1].proxy = corpus.decode(text.removeprefix("proxy: "))
        elif text and not text.startswith("#"):
            unordered = text.startswith("~ ")
            words = [unescape(match) for match in WORD.finditer(text.removeprefix("~ "))]
            lines.append(Line(number, title, text, words, unordered))
    return lines, sections


def unescape(match: re.Match) -> bytes:
    if match.group(1) is None:
        return match.group(2).encode()
    return match.group(1).encode().decode("unicode_escape").encode("latin-1")


class Client:
    """A connection that sends one command and reads one whole reply, kept as it came."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, TIMEOUT_S)
        self.stream = self.socket.makefile("rb")

    def call(self, *words: bytes) -> bytes:
        parts = [b"*%d\r\n" % len(words)] + [b"$%d\r\n%s\r\n" % (len(w), w) for w in words]
        self.socket.sendall(b"".join(parts))
        return self.read()

    def read(self) -> bytes:
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError(f"closed after {line!r}")
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=!" and rest != b"-1":
            return line + self.stream.read(int(rest) + 2)
        if kind in b"*~>%" and rest != b"-1":
            count = int(rest) * (2 if kind == b"%" else 1)
            return line + b"".join(self.read() for _ in range(count))
        return line


def in_order(reply: bytes) -> bytes:
    """The reply with its elements, bulk strings, sorted."""
    head, _, body = reply.partition(b"\r\n")
    return head + b"\r\n" + b"".join(sorted(re.findall(rb"\$\d+\r\n[^\r]*\r\n", body)))


def difference(line: Line, section: Section, got: bytes, real: bytes, node: bool) -> str | None:
    """What is wrong with the reply of the proxy, if anything."""
    if line.unordered:
        got, real = in_order(got), in_order(real)
    if node and section.not_in_node and NODE_REFUSES.match(got):
        section.refused += 1
        return None
    if line.proxy is not None and line.proxy == real:
        return "the line 'proxy:' below it is what redis-server answers, too: remove it"
    wanted = real if line.proxy is None else line.proxy
    if got == wanted:
        return None
    return f"\n    got      {corpus.encode(got)}\n    expected {corpus.encode(wanted)}"


def compare(options, protocol: int, lines: list[Line], sections: dict[str, Section]) -> list[str]:
    """All that is wrong in one run over the lines."""
    for address in options.empty:
        reply = Client(address).call(b"FLUSHALL")
        if reply != b"+OK\r\n":
            return [f"FLUSHALL to {address}: {reply!r}"]
    proxy, reference = Client(options.proxy), Client(options.reference)
    for client in (proxy, reference):
        client.call(b"HELLO", b"%d" % protocol)
    wrong = []
    for line in lines:
        got, real = proxy.call(*line.words), reference.call(*line.words)
        text = difference(line, sections[line.section], got, real, options.node)
        if text:
            wrong.append(f"RESP{protocol}, line {line.number}: {line.text}: {text}")
    return wrong


def parse_options(argv: list[str]):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("proxy", type=parse_address)
    parser.add_argument("reference", type=parse_address)
    parser.add_argument("--node", action="store_true")
    parser.add_argument("--empty", type=parse_address, nargs="+", default=[])
    return parser.parse_args(argv)


def parse_address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host or "127.0.0.1", int(port)


def main(argv: list[str]) -> int:
    options = parse_options(argv)
    lines, sections = load(HERE / "commands.txt")
    wrong = [text for protocol in (2, 3) for text in compare(options, protocol, lines, sections)]
    for section in sections.values():
        if options.node and section.not_in_node and not section.refused:
            wrong.append(f"[{section.title}]: the node refuses nothing of it any more")
    for text in wrong:
        print(f"DIFFERENT {text}")
    count = 2 * len(lines)
    refused = sum(section.refused for section in sections.values())
    known = 2 * sum(1 for line in lines if line.proxy is not None)
    print(f"{known} replies differ as listed, {refused} are a refusal of the node")
    print(f"{count} commands, {count - len(wrong)} as expected, {len(wrong)} different")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
