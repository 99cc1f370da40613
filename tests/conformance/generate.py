"""Cases made from the command table of a real server, for every command and subcommand."""

from __future__ import annotations

import arguments
import grammar
from grammar import Choice, Word
from script import Case, Command, State, WORD
from table import Entry

TYPES = list(arguments.FILLED)
MANY = "3"


def cases(table: list[Entry]) -> list[Case]:
    found: list[Case] = []
    for entry in table:
        maker = Maker(entry)
        maker.number_of_arguments()
        if entry.family not in arguments.BY_HAND and not maker.is_container(table):
            maker.calls()
        found += maker.cases
    return found


class Maker:
    """Makes the cases of one command. Those that would send the same again are left out."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.cases: list[Case] = []
        self.seen: set[tuple] = set()
        self.plain = grammar.words(entry, Choice())
        group_type = arguments.TYPE_OF_GROUP.get(entry.group, "string")
        self.type = arguments.TYPE_OF_COMMAND.get(entry.name, group_type)

    def is_container(self, table: list[Entry]) -> bool:
        return any(other.name.startswith(f"{self.entry.name}|") for other in table)

    # --- what is made ---------------------------------------------------------------------------

    def number_of_arguments(self) -> None:
        entry = self.entry
        most = abs(entry.arity)
        bare = entry.words
        if len(bare) < most:
            self.add("arity-none", [bare])
        if most - 1 > len(bare):
            self.add("arity-one-less", [bare + ["%a"] * (most - 1 - len(bare))])
        if entry.family in arguments.NEVER_TOO_MANY:
            return
        if entry.arity > 0:
            self.add("arity-one-more", [bare + ["%a"] * (most + 1 - len(bare))])
        if len(bare) == 1 and entry.arity > 0:
            self.add("arity-many", [bare + ["%a"] * 20])
        if most > len(bare) and "no_multi" not in entry.flags:
            block = [["MULTI"], bare, ["SET", "%a", "1"], ["EXEC"], ["GET", "%a"]]
            self.add("arity-in-multi", block)

    def calls(self) -> None:
        """Everything about a command that says by its arguments what it does."""
        self.keys_there_or_not()
        self.wrong_types()
        self.options()
        self.numbers()
        self.cut_short()
        self.contexts()
        self.several_keys()
        self.numkeys()

    def keys_there_or_not(self) -> None:
        self.call("missing", self.plain, filled="")
        self.call("right", self.plain)
        self.call("right-twice", self.plain, times=2)
        self.call("capitals", [_swapped(word) for word in self.plain])
        binary = _changed(self.plain, lambda word: word.kind == "string", "\x00\r\n\xff$3")
        self.call("binary", binary)
        empty = _changed(self.plain, lambda word: word.kind == "string", "")
        self.call("empty-argument", empty)
        self.call("too-much", [*self.plain, Word("junk", "junk", "string")])
        if len(self.keys(self.plain)) > 1:
            self.call("first-missing", self.plain, filled="b")
            self.call("second-missing", self.plain, filled="a")

    def wrong_types(self) -> None:
        keys = self.keys(self.plain)
        for kind in TYPES:
            if kind == arguments.SAME_TYPE.get(self.type, self.type):
                continue
            if keys:
                self.call(f"wrong-{kind}", self.plain, types={"%a": kind})
            if len(keys) > 1:
                self.call(f"wrong-second-{kind}", self.plain, types={"%b": kind})

    def options(self) -> None:
        for name, choice in grammar.choices(self.entry).items():
            words = grammar.words(self.entry, choice)
            self.call(f"option-{name}", words)
            self.call(f"option-{name}-missing", words, filled="")
            if len(words) > len(self.entry.words):
                self.call(f"option-{name}-cut", words[:-1])
            if choice.options:
                added = [word for word in words if word.text not in self.texts(self.plain)]
                self.call(f"option-{name}-twice", [*words, *added])
        for name, choice in grammar.pairs(self.entry).items():
            self.call(f"options-{name}", grammar.words(self.entry, choice))

    def numbers(self) -> None:
        """Each number of each form of the command, replaced by what may not be one."""
        done: set[str] = set()
        for choice in grammar.choices(self.entry).values():
            words = grammar.words(self.entry, choice)
            for at, word in enumerate(words):
                if word.kind not in ("integer", "double", "unix-time") or word.name in done:
                    continue
                done.add(word.name)
                bad = arguments.NOT_DOUBLES if word.kind == "double" else arguments.NOT_INTEGERS
                for label, value in bad.items():
                    if word.name in arguments.ENDLESS and label in arguments.ENDLESS_VALUES:
                        continue
                    changed = [*words[:at], Word(value, word.name, word.kind), *words[at + 1:]]
                    self.call(f"number-{word.name}-{label}", changed)

    def cut_short(self) -> None:
        for end in range(abs(self.entry.arity), len(self.plain)):
            self.call(f"cut-{end}", self.plain[:end])

    def contexts(self) -> None:
        words = self.texts(self.plain)
        if "no_multi" not in self.entry.flags:
            self.call("in-multi", self.plain, around=([["MULTI"]], [["EXEC"]]))
            self.call("in-multi-missing", self.plain, filled="", around=([["MULTI"]], [["EXEC"]]))
        self.add("while-subscribed", [["SUBSCRIBE", "%ch"], words])
        wrong = [*self.before(), *self.filling("%a", "hash" if self.type != "hash" else "list")]
        if self.keys(self.plain) and "no_multi" not in self.entry.flags:
            block = [["MULTI"], ["SET", "%other", "1"], words, ["GET", "%other"], ["EXEC"]]
            self.add("in-multi-wrong-type", [*wrong, *block], ["%a"])

    def several_keys(self) -> None:
        three = grammar.words(self.entry, Choice(times=int(MANY)))
        if self.entry.name in grammar.STREAM_READERS or len(three) != len(self.plain):
            self.call("several", three)
            self.call("several-missing", three, filled="")
            self.call("several-cut", three[:-1])
        for words, label in ((self.plain, "two"), (three, "three")):
            keys = self.keys(words)
            if len(keys) < 2:
                continue
            self.call(f"{label}-slots", _moved(words))
            self.call(f"{label}-slots-missing", _moved(words), filled="")
            self.call(f"{label}-slots-in-multi", _moved(words), around=([["MULTI"]], [["EXEC"]]))
            for kind in TYPES:
                self.call(f"{label}-slots-wrong-{kind}", _moved(words), types={"^a": kind})
            self.call(f"{label}-same-key", [_with_text(w, "%a") for w in words])

    def numkeys(self) -> None:
        three = grammar.words(self.entry, Choice(times=int(MANY)))
        for words, label in ((self.plain, "one"), (three, MANY)):
            for at, word in enumerate(words):
                if word.name != "numkeys":
                    continue
                for value in ("0", "-1", "2", "4", "100", "x", "", "9223372036854775807"):
                    changed = [*words[:at], Word(value, "numkeys", "integer"), *words[at + 1:]]
                    self.call(f"numkeys-{label}-{value or 'empty'}", changed)

    # --- how a case is made ---------------------------------------------------------------------

    def call(self, name: str, words: list[Word], filled: str | None = None, types: dict = {},
             around: tuple = ([], []), times: int = 1) -> None:
        """One request, on keys that have what the command expects, and what the keys are then.

        `filled` has the letters of the keys that are there, by default all; `types` says what is
        there in place of the right thing.
        """
        keys = list(dict.fromkeys(self.keys(words)))
        setup = self.before()
        for key in keys:
            if filled is None or key[1:] in filled:
                setup += self.filling(key, types.get(key, self.type))
        before, after = around
        requests = [*setup, *before, *[self.texts(words)] * times, *after]
        self.add(name, requests, keys)

    def before(self) -> list[list[str]]:
        return list(arguments.BEFORE.get(self.entry.name, []))

    def filling(self, key: str, kind: str) -> list[list[str]]:
        lines = arguments.filled(kind, second=key[1:] != "a")
        if self.entry.name == "dump":
            # A group of consumers holds the times at which it was seen.
            lines = [line for line in lines if not line.startswith("XREADGROUP")]
        return [[key if word == "KEY" else word for word in line.split()] for line in lines]

    def add(self, name: str, requests: list[list[str]], keys: list[str] = []) -> None:
        same = tuple(map(tuple, requests))
        if same in self.seen:
            return
        self.seen.add(same)
        case = Case(f"{self.entry.name}.{_plain_name(name)}", where="generated")
        for words in requests:
            encoded = [case.with_keys(word).encode("latin-1") for word in words]
            case.steps.append(Command(1, encoded))
        case.steps += [State(1, case.with_keys(key).encode()) for key in keys]
        self.cases.append(case)

    def keys(self, words: list[Word]) -> list[str]:
        return [word.text for word in words if word.kind == "key"]

    def texts(self, words: list[Word]) -> list[str]:
        return [word.text for word in words]


def _moved(words: list[Word]) -> list[Word]:
    """The keys in slots of their own."""
    return [_with_text(word, "^" + word.text[1:]) for word in words]


def _with_text(word: Word, text: str) -> Word:
    return Word(text, word.name, word.kind) if word.kind == "key" else word


def _swapped(word: Word) -> Word:
    text = word.text.swapcase() if word.kind == "token" else word.text
    return Word(text, word.name, word.kind)


def _changed(words: list[Word], chosen, text: str) -> list[Word]:
    """The last word that is chosen, with another text."""
    places = [at for at, word in enumerate(words) if chosen(word)]
    if not places:
        return words
    at = places[-1]
    return [*words[:at], Word(text, words[at].name, words[at].kind), *words[at + 1:]]


def _plain_name(name: str) -> str:
    name = name.replace("=", "exact").replace("~", "about").replace("\"\"", "unnamed")
    return "".join(char if char.isalnum() or char in "|+.-_" else "_" for char in name.lower())
