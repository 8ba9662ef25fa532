"""Rows of entities: the C decoder and its type against msgpack and plain Python."""

import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtinter import _core
from qtinter.inspect import _tables, connect, wire
from qtinter.inspect.errors import InspectError
from qtinter.inspect.model import (
    LOOP,
    TASK,
    PlainRow,
    Process,
    Row,
    forget_ended,
    is_final,
)

msgpack = pytest.importorskip("msgpack", reason="the decoder to compare with")
if not hasattr(_core, "Row"):
    pytest.skip("built without the wire", allow_module_level=True)

SUB_ROWS = wire.NUMBERS["SUB_ROWS"]
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
NUMBER = st.integers(-(2**63), 2**64 - 1)
KIND = st.one_of(st.integers(1, 11), U32)
STATE = st.one_of(st.integers(0, 10), st.just(255), U32)
ROW = st.builds(
    lambda *row: [*row[:4], *row[4]],
    KIND, U64, STATE, U32, st.lists(NUMBER, max_size=32),
)  # fmt: skip
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), NUMBER, st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=6,
)


def payload_of(rows, sub=3, pid=77, seq=0):
    return wire.encode("SUB_ROWS", seq, sub=sub, pid=pid, rows=rows)[4:]


def shown(row):
    return row.kind, row.id, row.state, row.loop, row.values


def plainly(payload):
    """What msgpack and PlainRow make of a payload that is right."""
    name, seq, fields = wire.decode(payload)
    assert name == "SUB_ROWS"
    rows = [PlainRow(*row[:4], row[4:]) for row in fields["rows"]]
    return seq, fields["sub"], fields["pid"], {(r.kind, r.id): shown(r) for r in rows}


def in_c(payload):
    seq, sub, pid, rows = _core.rows_decode(payload)
    assert all((row.kind, row.id) == key for key, row in rows.items())
    return seq, sub, pid, {key: shown(row) for key, row in rows.items()}


@given(rows=st.lists(ROW, max_size=8), sub=U64, pid=U64, seq=U32)
def test_rows_are_what_msgpack_makes_of_them(rows, sub, pid, seq):
    payload = payload_of(rows, sub, pid, seq)
    assert in_c(payload) == plainly(payload)


@given(row=ROW, changes=st.dictionaries(st.integers(-4, 40), NUMBER))
def test_the_type_is_what_the_one_in_python_is(row, changes):
    changes = {k: v & 0xFFFFFFFF if k < 0 else v for k, v in changes.items()}
    ours, plain = Row(*row[:4], row[4:]), PlainRow(*row[:4], row[4:])
    before = shown(ours)
    assert before == shown(plain)
    copies = ours.copy(), plain.copy()
    ours.change(changes)
    plain.change(changes)
    assert shown(ours) == shown(plain)
    assert shown(copies[0]) == shown(copies[1]) == before
    assert ours.is_over == plain.is_over == is_final(ours.kind, ours.state)
    for name, _ in _tables.ENTITIES.get(ours.kind, ("", ()))[1]:
        assert ours[name] == plain[name]
    for each in (ours, plain):
        with pytest.raises(KeyError):
            each["no such column"]


def test_columns_that_an_older_version_lacks_are_zero():
    assert Row(TASK, 1, 3, 1, [5])["where"] == 0
    assert Row(LOOP, 1, 0, 1, [])["mode"] == 0


def test_columns_of_a_later_version_are_left_out():
    (row,) = _core.rows_decode(payload_of([[TASK, 1, 3, 1, *range(40)]]))[3].values()
    assert row.values == tuple(range(32))


def test_numbers_that_no_column_holds_become_the_nearest():
    row = Row(TASK, 1, 3, 1, [2**64, 2**70, -(2**63) - 1, -(2**70)])
    assert row.values == (2**64 - 1, 2**64 - 1, -(2**63), -(2**63))


@pytest.mark.parametrize("wrong", [None, "1", 1.5, [1]])
def test_a_column_is_an_int(wrong):
    with pytest.raises(TypeError, match="a column of a row is an int"):
        Row(TASK, 1, 3, 1, [wrong])
    row = Row(TASK, 1, 3, 1, [1])
    with pytest.raises(TypeError, match="a column of a row is an int"):
        row.change({0: wrong})
    assert row.values == (1,)


@given(row=ANYTHING)
def test_what_is_no_row_is_refused(row):
    is_row = (
        isinstance(row, list)
        and len(row) >= 4
        and all(type(number) is int for number in row)
        and all(0 <= row[i] < 2**32 for i in (0, 2, 3))
        and row[1] >= 0
    )
    payload = payload_of([[TASK, 1, 3, 1], row])
    if is_row:
        assert in_c(payload) == plainly(payload)
    else:
        with pytest.raises(ValueError, match="a row that is none"):
            _core.rows_decode(payload)


@given(
    rows=st.lists(ROW, min_size=1, max_size=4),
    damage=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 2**16),
)
def test_damaged_frames_are_refused_or_are_others(rows, damage, cut):
    payload = bytearray(payload_of(rows))
    for place, value in damage:
        payload[place % len(payload)] = value
    if cut % 3 == 0:
        del payload[cut % len(payload) :]
    try:
        found = _core.rows_decode(bytes(payload))
    except ValueError:
        return
    if found is not None:
        assert in_c(bytes(payload)) == plainly(bytes(payload))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x93",
        b"\x93\x2b",
        b"\x93\x2b\x00\x83\x00\x01\x01\x01\x02\xdd\xff\xff\xff\xff",
        b"\x93\x2b\x00\x83\x00\x01\x01\x01\x02\x91\xdd\xff\xff\xff\xff\x01\x01\x01\x01",
        b"\x93\x2b\x00\x83\x00\x01\x01\x01\x02" + b"\x91" * 100000,
        b"\x93\x2b\x00\x82\x00\x01\x01\x01",
    ],
)
def test_lengths_that_lie_cost_nothing(payload):
    try:
        assert _core.rows_decode(payload) is None
    except ValueError:
        assert payload[:2] == b"\x93\x2b"


def test_other_messages_are_not_its_business():
    for name in ("PING", "LIST", "CRASHES"):
        assert _core.rows_decode(wire.encode(name)[4:]) is None
    with pytest.raises(TypeError):
        _core.rows_decode(bytearray(b"\x93\x2b"))


# --- a feed whose daemon sends them ---


def process_of(rows):
    process = Process({"pid": 1})
    process.put_all(rows)
    return {key: shown(row) for key, row in process.rows.items()}


def test_a_process_takes_both_forms():
    rows = [[TASK, i, 3, 1, *range(i, i + 22)] for i in range(1, 20)]
    made = _core.rows_decode(payload_of(rows))[3]
    assert process_of(made) == process_of(rows)
    assert len(made) == 19


def up(pid):
    return wire.encode("PROC_UP", pid=pid, process={0: pid, 2: f"a{pid}"}, session=1)


def down(pid):
    return wire.encode("PROC_DOWN", pid=pid, cause="died")


def processes_after(directory, frames):
    """What a feed has of applications, once it has taken all that there is."""

    async def main():
        server, address = await _daemon(
            directory, b"".join(frames) + wire.encode("GAP", first=0, count=0, cause="")
        )
        async with connect(address) as feed:
            async for change in feed:
                if change.what == "gap":
                    break
            found = feed.processes
        server.close()
        await server.wait_closed()
        return found

    return asyncio.run(asyncio.wait_for(main(), 60))


def test_a_feed_forgets_those_that_ended_first(tmp_path):
    frames = [up(1), *map(up, range(100, 140)), *map(down, range(139, 99, -1))]
    found = processes_after(tmp_path, frames)
    assert list(found) == [1, *range(124, 140)]
    assert found[1].alive
    assert not found[124].alive
    assert found[124].info["cause"] == "died"


def test_one_that_came_again_is_the_newest(tmp_path):
    frames = [*map(up, range(100, 117)), down(100), up(100)]
    frames += map(down, range(100, 117))
    assert list(processes_after(tmp_path, frames)) == [*range(102, 117), 100]


def test_what_somebody_looks_at_is_not_forgotten():
    processes = {pid: Process({"pid": pid}) for pid in range(40)}
    for pid in range(1, 40):
        processes[pid].alive = False
    forget_ended(processes, keep=5)
    assert list(processes) == [0, 5, *range(24, 40)]


async def _daemon(directory, frame):
    """A daemon that welcomes everybody and then sends a frame."""
    key = os.urandom(32)
    (directory / "key").write_bytes(key)
    (directory / "key").chmod(0o600)
    nonce = os.urandom(32)

    async def serve(reader, writer):
        decoder = wire.Decoder()
        writer.write(
            wire.encode(
                "HELLO", magic="QTI", major=wire.MAJOR, minor=0, server="s", nonce=nonce
            )
        )
        messages = []
        while not messages:
            messages = decoder.feed(await reader.read(4096))
        fields = messages[0][2]
        writer.write(
            wire.encode(
                "WELCOME", session=1, role=fields["role"], minor=0, clock=0,
                hmac=wire.server_proof(key, nonce, fields["nonce"]),
            )
        )  # fmt: skip
        writer.write(frame)
        await reader.read()
        writer.close()

    address = str(directory / "qtinterd.sock")
    return await asyncio.start_unix_server(serve, address), address


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("SUB_ROWS", {"sub": 1, "pid": 1, "rows": [[1]]}),
        ("SUB_ROWS", {"sub": 1, "pid": 1, "rows": [7]}),
        ("SUB_INTERN", {"pid": 1, "entries": [[1]]}),
        ("SUB_INTERN", {"pid": 1, "entries": [[[], "t", "x"]]}),
        (
            "DELTA",
            {"sub": 1, "pid": 1, "rev": 1, "ts": 1, "upsert": [[1]], "gone": []},
        ),
        (
            "DELTA",
            {"sub": 1, "pid": 1, "rev": 1, "ts": 1, "upsert": [[1, 1, 5]], "gone": []},
        ),
        (
            "DELTA",
            {"sub": 1, "pid": 1, "rev": 1, "ts": 1, "upsert": [], "gone": [None]},
        ),
    ],
)
def test_a_feed_ends_with_an_error_that_names_the_message(tmp_path, name, fields):
    async def main():
        server, address = await _daemon(tmp_path, wire.encode(name, **fields))
        # It may come together with the welcome.
        with pytest.raises(InspectError, match=name):
            async with connect(address) as feed:
                async for _ in feed:
                    pass
        server.close()
        await server.wait_closed()

    asyncio.run(asyncio.wait_for(main(), 60))
