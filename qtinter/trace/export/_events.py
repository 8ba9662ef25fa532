"""The records of a recording as rows of words: what JSONL and CSV have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator

from ...inspect.model import WAIT
from .._trace import _WORDS as WORDS
from ._timeline import note_words
from ._words import Words

if TYPE_CHECKING:
    from .._source import Record, Source


def in_words(words: Words, record: Record) -> dict[str, Any]:
    """A record as a dictionary: ``event``, ``loop`` and what else its kind has."""
    event = words.event(record[1:])
    del event["ts"]
    if event.get("task"):
        event["task_name"] = words.task_text(event["task"])
    if event.get("slot"):
        event["slot_name"] = words.slot_text(event["slot"])
    if isinstance(event.get("wait"), int):
        event["wait_text"] = words.describe(WAIT << 56 | event["wait"])
    for key, value in event.items():
        if type(value) is float:  # seconds, of whole nanoseconds
            event[key] = round(value, 9)
    for key, table in WORDS.get(event["event"], {}).items():
        event[key] = table.get(event[key], event[key])
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
        words.learn(record)
        yield from noticed(number, mono)
        event = in_words(words, record)
        yield dated(mono, {"number": number, **event})
    yield from noticed(1 << 63, source.info.get("last", 0) if t1 is None else t1)
