"""The protocol's tables, its page and its golden vectors belong together."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tests" / "tools"
GOLDEN = ROOT / "proto" / "golden"

sys.path.insert(0, str(TOOLS))
import protocol_defs as defs  # noqa: E402

sys.path.remove(str(TOOLS))

MESSAGES = {message.name: message for message in defs.messages().values()}
NUMBER_TYPES = {"u": int, "i": int, "f": float, "b": bool}


def check(tool):
    return subprocess.run(
        [sys.executable, str(TOOLS / tool), "--check"], check=False
    ).returncode


def test_page_has_the_tables():
    assert check("protocol_tables.py") == 0, "run tests/tools/protocol_tables.py"


def test_tables_of_the_tools_are_current():
    assert check("python_tables.py") == 0, "run tests/tools/python_tables.py --write"


def test_vectors_are_current():
    pytest.importorskip("msgpack", reason="the vectors are made with PyPI's msgpack")
    assert check("regen_golden.py") == 0, "run tests/tools/regen_golden.py"


def test_every_message_has_vectors():
    names = {path.stem for path in GOLDEN.glob("*.bin")}
    assert names == {path.stem for path in GOLDEN.glob("*.json")}
    assert {name.split("-")[0] for name in names} == set(MESSAGES)
    for message in MESSAGES.values():
        optional = [field for field in message.fields.values() if not field.required]
        assert (f"{message.name}-min" in names) == bool(optional)


def json_form(value):
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, list):
        return [json_form(item) for item in value]
    if isinstance(value, dict):
        return {str(key): json_form(item) for key, item in value.items()}
    return value


@pytest.mark.parametrize(
    "path", sorted(GOLDEN.glob("*.bin")), ids=lambda path: path.stem
)
def test_vector_is_what_its_description_says(path):
    msgpack = pytest.importorskip("msgpack", reason="a decoder that is not ours")
    contents = path.read_bytes()
    description = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    length = int.from_bytes(contents[:4], "little")
    number, seq, body = msgpack.unpackb(contents[4:], strict_map_key=False)

    message = MESSAGES[description["message"]]
    assert length == len(contents) - 4
    assert (number, seq) == (message.number, description["seq"])
    by_name = {message.fields[key].name: value for key, value in body.items()}
    assert json_form(by_name) == description["body"]
    for field in message.fields.values():
        assert field.name in by_name or not field.required
        wanted = NUMBER_TYPES.get(field.type)
        if field.name in by_name and wanted is not None:
            assert type(by_name[field.name]) is wanted


def test_numbers_are_unique():
    text = (ROOT / "proto" / "messages.def").read_text(encoding="utf-8")
    assert text.count("\nMESSAGE(") == len(defs.messages())
    text = (ROOT / "proto" / "records.def").read_text(encoding="utf-8")
    assert text.count("\nX(") == len(defs.records())
    text = (ROOT / "proto" / "entities.def").read_text(encoding="utf-8")
    assert text.count("\nENTITY(") == len(defs.entities())
