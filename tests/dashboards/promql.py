"""Reads from an expression of PromQL what the checks want to know: its selectors, and where each
of them stands. Whether the expression is valid is for Prometheus to say."""

import re
from dataclasses import dataclass

TOKEN = re.compile(r"""
    (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
  | (?P<range>\[[^\]]*\])
  | (?P<word>[A-Za-z_:][\w:]*)
  | (?P<number>[0-9.][\w.]*(?:[eE][-+]?\d+)?)
  | (?P<mark>=~|!~|!=|==|<=|>=|.)
""", re.VERBOSE | re.DOTALL)
WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
# What is followed by a list of labels.
LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}


@dataclass
class Selector:
    """`name{label="value"}[range]` in `function(...)`."""

    name: str
    matchers: dict[str, tuple[str, str]]
    range: str
    function: str


def selectors(expression: str) -> list[Selector]:
    tokens = [
        (match.lastgroup, match[0]) for match in TOKEN.finditer(expression)
        if not match[0].isspace()
    ]
    found, calls, place = [], [], 0

    def at(index: int) -> str:
        return tokens[index][1] if index < len(tokens) else ""

    while place < len(tokens):
        kind, text = tokens[place]
        place += 1
        if text == "(":
            previous = tokens[place - 2] if place > 1 else ("", "")
            calls.append(previous[1] if previous[0] == "word" else "")
        elif text == ")":
            calls.pop()
        elif kind == "word" and text in LISTS and at(place) == "(":
            while at(place) != ")":
                place += 1
            place += 1
        elif kind == "word" and text.lower() not in WORDS and at(place) not in ("(", *LISTS):
            matchers = {}
            if at(place) == "{":
                place, matchers = _matchers(tokens, place + 1)
            window = ""
            if place < len(tokens) and tokens[place][0] == "range":
                window = tokens[place][1][1:-1]
                place += 1
            found.append(Selector(text, matchers, window, calls[-1] if calls else ""))
    return found


def _matchers(tokens: list[tuple[str, str]], place: int) -> tuple[int, dict]:
    matchers = {}
    while tokens[place][1] != "}":
        if tokens[place][1] == ",":
            place += 1
            continue
        label, operator, value = (token[1] for token in tokens[place:place + 3])
        matchers[label] = (operator, value[1:-1])
        place += 3
    return place + 1, matchers
