"""All that is in a recording, for tests; checks what proto/TRACE.md promises."""

import struct

from qtinter import _core
from qtinter.inspect import _tables

RECORD = struct.Struct("<qHHIQQ")
MARK = next(n for n, (name, *_) in _tables.RECORDS.items() if name == "MARK")


class Contents:
    """All of a recording; recorded and lost records must leave out no number."""

    def __init__(self, path):
        self.reader = _core.TraceReader(path)
        self.records, self.entries, self.notes = [], {}, []
        self.rows, self.ended, self.lost = [], [], 0
        self.end = None
        for index, chunk in enumerate(self.reader.chunks):
            self._take(chunk, self.reader.read(index))

    def _take(self, place, chunk):
        _, t0, t1, first, n, _, _ = place
        for start, count, cause, _, _ in chunk["gaps"]:
            assert self.end in (None, start)
            assert cause == "ring"
            self.end = start + count
            self.lost += count
        assert self.end in (None, chunk["first"])
        assert chunk["first"] == first
        records = list(RECORD.iter_unpack(chunk["records"]))
        assert len(records) == n
        assert all(t0 <= record[0] <= t1 for record in records)
        assert t0 <= chunk["state_ts"] <= t1
        self.end = first + n
        self.records += records
        # A text is in the chunk that uses it, in front of the entries that do.
        own = {}
        for ident, kind, value in chunk["entries"]:
            assert kind in "tck"
            if kind != "t":
                uses = value[:2] if kind == "c" else value
                assert all(used in own or used == 0 for used in uses), (ident, value)
            own[ident] = value
        for record in records:
            if record[1] == MARK:
                assert record[3] in own
        for row in chunk["rows"] + chunk["ended"]:
            for (_, kind), value in zip(_tables.ENTITIES[row[0]][1], row[4:]):
                if kind in "tck" and value and not value & 1 << 31:
                    assert value in own
        self.entries.update(own)
        self.notes += chunk["notes"]
        self.rows.append(chunk["rows"])
        self.ended += chunk["ended"]

    def marks(self):
        return [self.entries[r[3]] for r in self.records if r[1] == MARK]

    def names(self, rows):
        return {self.entries.get(row[4]) for row in rows if row[0] == 1}


def marks(first, last):
    return [f"mark {number}" for number in range(first, last)]
