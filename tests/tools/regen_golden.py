"""Writes proto/golden: frames of every message, as bytes and as JSON.

    regen_golden.py [--check]     --check: changes nothing, 1 if it would

NAME.bin is a whole frame; NAME.json says what is in it: message, seq, and the fields
by name (bytes as {"hex": ...}).  Each message has a vector with all of its fields and,
where some are optional, one ("-min") with the required ones only.  The frames are made
by msgpack for Python, that is by neither of the implementations they are to test.
"""

import itertools
import json
import struct
import sys

import msgpack
import protocol_defs as defs

FOLDER = defs.PROTO / "golden"

# Where the formats of msgpack change, and the ends.
UNSIGNED = (0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1)
SIGNED = (0, -1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -(2**63))
TEXTS = ("", "text", "é – 🐍", "x" * 31, "y" * 32, "z" * 256)

# Contents that have a structure, and fields that have few values.
ROW = [1, 7, 3, 1, *range(22)]
ENTRIES = [
    [1, "t", "main.py"],
    [2, "t", "on_save"],
    [3, "c", [1, 2, 42]],
    [4, "k", [3]],
]
RECORDS = [0, 11, 1, 0, 7, 1500, 250, 12, 1, 0, 7, 2**56 + 3, -3, 90, 1, 2, 0, 0]
PROCESS = {0: 4711, 1: 99, 2: "app", 3: "/run/app.qiseg", 8: {"qt": "6.4.2"}}
SPECIAL = {
    ("HELLO", "magic"): "QTI",
    ("HELLO", "major"): 1,
    ("HELLO", "minor"): 0,
    ("HELLO", "nonce"): bytes(range(32)),
    ("AUTH", "role"): "app",
    ("AUTH", "nonce"): bytes(range(32, 64)),
    ("AUTH", "hmac"): bytes(range(64, 96)),
    ("WELCOME", "hmac"): bytes(range(96, 128)),
    ("PROCESS", "versions"): {"python": "3.13.0", "qt": "6.8.1"},
    ("PROCESS", "argv"): ["python", "main.py"],
    ("INTERN", "entries"): ENTRIES,
    ("SUB_INTERN", "entries"): ENTRIES,
    ("STATE", "rows"): [ROW, [3, 2**40, 255, 0]],
    ("SUB_ROWS", "rows"): [ROW],
    ("EVENTS", "records"): RECORDS,
    ("EVENT_STREAM", "records"): RECORDS,
    ("SUBSCRIBE", "kinds"): [1, 2, 3],
    ("DELTA", "upsert"): [[1, 7, {-1: 3, 10: 5}]],
    ("DELTA", "gone"): [[1, 6], [3, 2**40]],
    ("PROC_UP", "process"): PROCESS,
    ("STALL_NOTE", "stall"): {0: 1, 1: 10, 2: 20, 3: 2**56 + 7, 5: True},
    ("RESULT", "value"): [1, -1, 1.5, None, True, "text", b"bytes", {"key": [[]]}],
}


class Values:
    """A value for each field: another one each time, the same in every run."""

    def __init__(self):
        self.cycles = {
            "u": itertools.cycle(UNSIGNED),
            "i": itertools.cycle(SIGNED + UNSIGNED[:-1]),
            "f": itertools.cycle((0.0, -2.5, 1e300)),
            "b": itertools.cycle((True, False)),
            "s": itertools.cycle(TEXTS),
            "y": itertools.cycle((b"", bytes(range(256)))),
            "m": itertools.cycle(({}, {"a": 1})),
            "l": itertools.cycle(([], ["feature"])),
        }

    def of(self, message, field):
        special = SPECIAL.get((message.name, field.name))
        return next(self.cycles[field.type]) if special is None else special


def as_json(value):
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    return value


def frame(number, seq, body):
    payload = msgpack.packb([number, seq, body], use_bin_type=True)
    return struct.pack("<I", len(payload)) + payload


def vector(message, seq, fields, values):
    """The two forms of one frame."""
    body = {field.key: values.of(message, field) for field in fields}
    description = {
        "message": message.name,
        "seq": seq,
        "body": {field.name: as_json(body[field.key]) for field in fields},
    }
    text = json.dumps(description, indent=1, ensure_ascii=False) + "\n"
    return frame(message.number, seq, body), text.encode()


def vectors():
    """All files: name to contents."""
    files = {}
    values = Values()
    for message in defs.messages().values():
        fields = list(message.fields.values())
        required = [field for field in fields if field.required]
        variants = {message.name: fields}
        if len(required) < len(fields):
            variants[message.name + "-min"] = required
        for seq, (name, chosen) in enumerate(variants.items()):
            binary, text = vector(message, seq * 70000 + message.number, chosen, values)
            files[name + ".bin"] = binary
            files[name + ".json"] = text
    return files


def main(arguments):
    files = vectors()
    there = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    if arguments == ["--check"]:
        return int(there != files)
    for name in there.keys() - files.keys():
        (FOLDER / name).unlink()
    for name, contents in files.items():
        (FOLDER / name).write_bytes(contents)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
