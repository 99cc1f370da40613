"""From the tree of a command's arguments to the words of requests: with any of its options, with
one alternative or another, with something given several times."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import arguments
from table import Entry

# They come once for each key.
ONE_FOR_EACH_KEY = {"weight"}
STREAM_READERS = {"xread", "xreadgroup"}


@dataclass
class Word:
    """One word of a request, and which argument it is: `kind` is a type, or 'token'."""

    text: str
    name: str
    kind: str


@dataclass
class Choice:
    """What a request has beyond what it must: the paths of options, which alternative is taken at
    a path, and how often the arguments that may come several times do."""

    options: set[tuple] = field(default_factory=set)
    alternatives: dict[tuple, int] = field(default_factory=dict)
    times: int = 1

    def with_path(self, path: tuple) -> Choice:
        above = {path[:end] for end in range(1, len(path) + 1)}
        return Choice(self.options | above, dict(self.alternatives), self.times)


def choices(entry: Entry) -> dict[str, Choice]:
    """The plain request, and those with one option, or another alternative, each by a name."""
    found = {"plain": Choice()}
    _walk(entry.arguments, (), Choice(), "", found)
    return found


def pairs(entry: Entry) -> dict[str, Choice]:
    """Every two options of `choices` together."""
    single = {name: choice for name, choice in choices(entry).items() if choice.options}
    return {
        f"{one}+{two}": Choice(
            single[one].options | single[two].options,
            single[one].alternatives | single[two].alternatives,
        )
        for one, two in combinations(single, 2)
    }


def _walk(tree: list[dict], above: tuple, choice: Choice, prefix: str, found: dict) -> None:
    for argument in tree:
        path = (*above, argument["name"], argument.get("token"))
        name = f"{prefix}{argument.get('token') or argument['name']}".lower()
        here = choice
        if "optional" in argument["flags"]:
            here = choice.with_path(path)
            if argument["type"] != "oneof":
                _put(found, name, here)
        if argument["type"] == "oneof":
            for index, inner in enumerate(argument["arguments"]):
                taken = Choice(here.options, here.alternatives | {path: index}, 1)
                label = (inner.get("token") or inner["name"]).lower()
                if index or "optional" in argument["flags"]:
                    _put(found, f"{prefix}{label}", taken)
                _walk([inner], path, taken, f"{prefix}", found)
        elif argument["type"] == "block":
            _walk(argument["arguments"], path, here, f"{name}.", found)


def _put(found: dict, name: str, choice: Choice) -> None:
    while name in found:
        name += "-2"
    found[name] = choice


def words(entry: Entry, choice: Choice) -> list[Word]:
    """The request's words, with keys %a, %b ... in the order in which they stand."""
    out = [Word(text, text.lower(), "token") for text in entry.words]
    _expand(entry.name, entry.arguments, (), choice, out)
    keys = [word for word in out if word.kind == "key"]
    for letter, word in zip("abcdefgh", keys):
        word.text = f"%{letter}"
    for at, word in enumerate(out):
        if word.name == "numkeys":
            word.text = str(sum(later.kind == "key" for later in out[at:]))
    return out


def _expand(name: str, tree: list[dict], above: tuple, choice: Choice, out: list[Word]) -> None:
    for argument in tree:
        path = (*above, argument["name"], argument.get("token"))
        if "optional" in argument["flags"] and path not in choice.options:
            continue
        repeated = "multiple" in argument["flags"]
        times = choice.times if repeated else 1
        if argument["name"] in ONE_FOR_EACH_KEY:
            times = max(1, sum(word.kind == "key" for word in out) - _stores(name))
        for turn in range(times):
            if (token := argument.get("token")) is not None:
                if turn == 0 or "multiple_token" in argument["flags"]:
                    out.append(Word(token or '""', token.lower(), "token"))
            _one(name, argument, path, choice, out)


def _stores(name: str) -> int:
    return 1 if name.endswith("store") else 0


def _one(name: str, argument: dict, path: tuple, choice: Choice, out: list[Word]) -> None:
    kind = argument["type"]
    if kind == "pure-token":
        return
    if kind == "oneof":
        index = choice.alternatives.get(path, 0)
        _expand(name, [argument["arguments"][index]], path, choice, out)
    elif kind == "block":
        _expand(name, argument["arguments"], path, choice, out)
    else:
        value = arguments.value_of(name, argument["name"], kind)
        if argument.get("token") == "MINID":
            value = "1-1"
        out.append(Word(value, argument["name"], kind))
