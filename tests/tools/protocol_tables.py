"""Writes the tables at the end of proto/PROTOCOL.md from the .def files.

protocol_tables.py [--check]     --check: changes nothing, 1 if it would
"""

import sys

import protocol_defs as defs

PAGE = defs.PROTO / "PROTOCOL.md"
MARK = "<!-- generated tables: tests/tools/protocol_tables.py -->\n"
SENDERS = {"d": "daemon", "a": "application", "t": "tool"}
TYPES = {
    "u": "unsigned",
    "i": "signed",
    "f": "float",
    "b": "bool",
    "s": "text",
    "y": "bytes",
    "m": "map",
    "l": "list",
    "v": "any",
}
COLUMN_TYPES = {
    "u": "unsigned",
    "i": "signed",
    "t": "text id",
    "c": "code id",
    "k": "stack id",
    "r": "ref",
    "ns": "ns",
    "b": "0 or 1",
}


def cell(text):
    return text.replace("|", "\\|")


def message_tables():
    yield "## 8. Messages\n"
    yield "Fields in *italics* are optional.\n"
    for message in defs.messages().values():
        senders = ", ".join(SENDERS[letter] for letter in message.senders)
        yield f"### {message.number} {message.name}\n"
        yield (
            f"From: {senders}. {message.doc[0].upper()}{message.doc[1:]}.\n"
            if (message.doc)
            else f"From: {senders}.\n"
        )
        if message.fields:
            yield "| key | field | type | what |\n|---|---|---|---|"
            for field in message.fields.values():
                name = field.name if field.required else f"*{field.name}*"
                kind = TYPES[field.type]
                yield f"| {field.key} | {name} | {kind} | {cell(field.doc)} |"
            yield ""


def entity_tables():
    yield "## 9. Entities and their columns\n"
    yield (
        "A row is `[kind, id, state, loop, column 0, column 1, ...]`; a later version\n"
        "may append columns.  A ref is `kind << 56 | id`, 0: nobody known.\n"
    )
    for entity in defs.entities().values():
        yield f"### {entity.number} {entity.singular}: {entity.doc}\n"
        if entity.columns:
            yield "| column | name | type | what |\n|---|---|---|---|"
            for column in entity.columns:
                yield (
                    f"| {column.number} | {column.name} | {COLUMN_TYPES[column.type]} "
                    f"| {cell(column.doc)} |"
                )
            yield ""


def record_table():
    yield "## 10. Records\n"
    yield "On the wire: `dt, kind, aux, x, a, b`; `aux` is the number of the loop.\n"
    yield "| kind | name | x | a | b | what |\n|---|---|---|---|---|---|"
    for record in defs.records().values():
        fields = (
            "" if name == "0" else name for name in (record.x, record.a, record.b)
        )
        yield (
            f"| {record.number} | {record.name} | {' | '.join(fields)} "
            f"| {cell(record.doc)} |"
        )


def page():
    head = PAGE.read_text(encoding="utf-8").split(MARK)[0]
    lines = [*message_tables(), *entity_tables(), *record_table()]
    return head + MARK + "\n" + "\n".join(lines) + "\n"


def main(arguments):
    wanted = page()
    if arguments == ["--check"]:
        return int(PAGE.read_text(encoding="utf-8") != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
