"""Reads the tables of the protocol: messages.def, entities.def, records.def."""

import pathlib
import re
from collections import namedtuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"

Message = namedtuple("Message", "number name senders doc fields")
Field = namedtuple("Field", "key name type required doc")
Entity = namedtuple("Entity", "number name singular doc columns")
Column = namedtuple("Column", "number name type doc")
Lint = namedtuple("Lint", "id severity after_ms limit text")
Record = namedtuple("Record", "number name x a b doc")

TEXT = r'"((?:[^"\\]|\\.)*)"'
ITEM = re.compile(r"^([A-Z]+)\((.*)\)$")


def _unquote(text):
    return re.sub(r"\\(.)", r"\1", text)


def _lines(name, folder=PROTO):
    """The macro calls of a .def file, each as its name and its arguments."""
    for line in (folder / name).read_text(encoding="utf-8").splitlines():
        found = ITEM.match(line)
        if found is None:
            if line and not line.startswith(("/*", " *")):
                raise ValueError(f"{name}: not a line of the table: {line}")
            continue
        texts = [_unquote(text) for text in re.findall(TEXT, found[2])]
        bare = re.sub(TEXT, "", found[2]).split(",")
        words = [word.strip() for word in bare if word.strip()]
        yield found[1], words, texts


def messages():
    """All messages by number, with their fields by key."""
    found = {}
    for kind, words, texts in _lines("messages.def"):
        if kind == "MESSAGE":
            number, name, senders = words
            found[name] = Message(int(number), name, senders, texts[0], {})
        else:
            owner, key, name, letter, need = words
            field = Field(int(key), name, letter, need == "1", texts[0])
            found[owner].fields[field.key] = field
    return {message.number: message for message in found.values()}


def entities():
    """All kinds of entities by number, with their columns in order."""
    found = {}
    for kind, words, texts in _lines("entities.def"):
        if kind == "ENTITY":
            number, name = words
            found[name] = Entity(int(number), name, texts[0], texts[1], [])
        else:
            owner, number, name, letter = words
            columns = found[owner].columns
            if int(number) != len(columns):
                raise ValueError(f"entities.def: {owner} has a hole before {name}")
            columns.append(Column(int(number), name, letter, texts[0]))
    return {entity.number: entity for entity in found.values()}


def records():
    """All kinds of records by number."""
    found = {}
    for _, (number, name, x, a, b), texts in _lines("records.def"):
        found[int(number)] = Record(int(number), name, x, a, b, texts[0])
    return found


def lints():
    """All kinds of findings, in the order of their ids."""
    return [
        Lint(ident, letter.strip("'"), int(after), int(limit), texts[0])
        for _, (ident, letter, after, limit), texts in _lines(
            "lints.def", ROOT / "daemon"
        )
    ]
