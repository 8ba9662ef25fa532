"""The records of a recording as rows of words: what JSONL and CSV have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Tuple

from ...inspect.model import EVENTS, WAIT, What
from .._trace import _WORDS as WORDS
from ._timeline import note_words
from ._words import NOTABLE, Words

if TYPE_CHECKING:
    from .._source import Record, Source

BLOCK = 1 << 16  # bytes that are written at once

# Of a field of a kind: where it stands, its name, what it is, and its words.
_Field = Tuple[int, str, int, Dict[int, str]]


def _fields_of(name: str, fields: Tuple[Tuple[int, str, int], ...]) -> List[_Field]:
    return [(at + 1, key, what, WORDS.get(name, {}).get(key, {}))
            for at, key, what in fields]  # fmt: skip


def _plan(
    name: str, fields: Tuple[Tuple[int, str, int], ...]
) -> Tuple[str, List[_Field], int, int, int]:
    places = {key: at + 1 for at, key, what in fields if what == What.PLAIN}
    task, slot, wait = (places.get(key, 0) for key in ("task", "slot", "wait"))
    return name, _fields_of(name, fields), task, slot, wait


# By kind: its name, its fields, and where the ids of a task, a slot and a wait stand.
_KINDS = {kind: _plan(name, fields) for kind, (name, fields) in EVENTS.items()}


def put_words(event: dict[str, Any], words: Words, record: Record) -> None:
    """Puts what a record says into a dictionary: ``event``, ``loop``, and what more."""
    known = _KINDS.get(record[2])
    if known is None:
        event["event"], event["loop"] = f"kind {record[2]}", record[3]
        return
    event["event"], fields, task, slot, wait = known
    event["loop"] = record[3]
    for at, key, what, table in fields:
        value: Any = record[at]
        if what == What.PLAIN:
            event[key] = table.get(value, value) if table else value
        elif what == What.NS:  # seconds, of whole nanoseconds
            event[key] = round(value * 1e-9, 9)
        elif what == What.REF:
            event[key] = words.describe(value)
        elif what == What.TEXT:
            event[key] = words.text(value)
        else:
            event[key] = words.code_text(value)
    if task and record[task]:
        event["task_name"] = words.task_text(record[task])
    if slot and record[slot]:
        event["slot_name"] = words.slot_text(record[slot])
    if wait:
        event["wait_text"] = words.describe(WAIT << 56 | record[wait])


def in_words(words: Words, record: Record) -> dict[str, Any]:
    """A record as a dictionary."""
    event: dict[str, Any] = {}
    put_words(event, words, record)
    return event


def events(
    source: Source, t0: int | None = None, t1: int | None = None
) -> Iterator[dict[str, Any]]:
    """Each record, gap and note as a dictionary, in order of time.

    Keys of every one are ``ts`` (seconds since the epoch), ``mono`` (ns of the clock of
    the recorded process) and ``event``; the others are those of the kind of record.
    Durations are seconds.
    """
    words = Words(source)
    gaps = sorted(source.gaps, key=lambda gap: gap.first, reverse=True)
    notes = sorted(source.notes, key=lambda note: note.ts, reverse=True)
    wall0 = source.info.get("wall0", 0) - source.info.get("mono0", 0)

    def dated(mono: int, fields: dict[str, Any]) -> dict[str, Any]:
        return {"ts": round(words.wall(mono), 6), "mono": mono, **fields}

    def noticed(number: int, mono: int) -> Iterator[dict[str, Any]]:
        while gaps and gaps[-1].first <= number:
            gap = gaps.pop()
            at = min(gap.t1 or mono, mono)
            lost = {"event": "gap", "lost": gap.count, "cause": gap.cause}
            if at >= (t0 or 0):
                yield dated(at, lost)
        while notes and notes[-1].ts <= mono:
            note = notes.pop()
            text, more = note_words(note, words)
            if note.ts >= (t0 or 0):
                yield dated(note.ts, {"event": note.kind, "text": text, **more})

    for record in source.records(t0, t1):
        number, mono = record[:2]
        if record[2] in NOTABLE or mono >= words.look_at:
            words.learn(record)
        if gaps or notes:
            yield from noticed(number, mono)
        ts = round((wall0 + mono) * 1e-9, 6)
        event: dict[str, Any] = {"ts": ts, "mono": mono, "number": number}
        put_words(event, words, record)
        yield event
    yield from noticed(1 << 63, source.info.get("last", 0) if t1 is None else t1)
