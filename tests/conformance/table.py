"""The command table of a real server: names, arity, and arguments as trees."""

from __future__ import annotations

from dataclasses import dataclass

import wire


@dataclass
class Entry:
    """One command or subcommand, such as `xgroup|create`."""

    name: str
    arity: int
    group: str
    arguments: list[dict]
    flags: set[str]

    @property
    def words(self) -> list[str]:
        return self.name.upper().split("|")

    @property
    def family(self) -> str:
        return self.name.partition("|")[0]


def read(port: int) -> list[Entry]:
    """All commands, containers too, by name."""
    connection = wire.Connection(port)
    connection.send(wire.request([b"COMMAND"]) + wire.request([b"COMMAND", b"DOCS"]))
    infos, docs = (_plain(wire.parse(connection.reply())) for _ in range(2))
    connection.close()
    arities: dict[str, tuple[int, set[str]]] = {}
    for info in infos:
        _note_arity(info, arities)
    entries: list[Entry] = []
    for name, text in _pairs(docs).items():
        _add(name, _pairs(text), arities, entries)
    return sorted(entries, key=lambda entry: entry.name)


def _plain(tree: wire.Tree):
    if tree.kind == b"*":
        return [_plain(item) for item in tree.items]
    return (tree.text or b"").decode("latin-1")


def _pairs(flat: list) -> dict:
    return dict(zip(flat[::2], flat[1::2]))


def _note_arity(info: list, arities: dict) -> None:
    arities[info[0]] = int(info[1]), set(info[2])
    for sub in info[9]:
        _note_arity(sub, arities)


def _add(name: str, text: dict, arities: dict, entries: list[Entry]) -> None:
    arity, flags = arities[name]
    arguments = [_argument(raw) for raw in text.get("arguments", [])]
    entries.append(Entry(name, arity, text.get("group", ""), arguments, flags))
    for sub, sub_text in _pairs(text.get("subcommands", [])).items():
        _add(sub, {"group": text.get("group", "")} | _pairs(sub_text), arities, entries)


def _argument(raw: list) -> dict:
    argument = _pairs(raw)
    argument["flags"] = set(argument.get("flags", []))
    argument["arguments"] = [_argument(inner) for inner in argument.get("arguments", [])]
    return argument
