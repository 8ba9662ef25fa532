"""What a feed keeps for a user who takes nothing: bounded, and losses are told."""

import asyncio
import random

import pytest

pytest.importorskip("msgpack", reason="the inspection protocol needs msgpack")

from qtinter.inspect import _backlog
from qtinter.inspect._backlog import Backlog, Change


def events(sub, first, count):
    data = {"sub": sub, "pid": 7, "first": first, "ts": 0, "records": [0] * 6 * count}
    return Change("events", 7, data)


def rows(sub, rev, count):
    upsert = [[1, ident, {}] for ident in range(count)]
    data = {"sub": sub, "pid": 7, "rev": rev, "ts": 0, "upsert": upsert, "gone": []}
    return Change("rows", 7, data)


def taken(backlog):
    async def take():
        found = []
        while len(backlog):
            found.append(await backlog.take())
        return found

    return asyncio.run(take())


@pytest.fixture
def lost():
    return []


@pytest.fixture
def backlog(monkeypatch, lost):
    monkeypatch.setattr(_backlog, "MAX_RECORDS", 1000)
    monkeypatch.setattr(_backlog, "MAX_ROWS", 1000)

    async def made():
        return Backlog(lambda pid, count: lost.append((pid, count)))

    return asyncio.run(made())


def test_nothing_is_lost_below_the_bound(backlog, lost):
    put = [events(1, 0, 500), rows(1, 1, 900), events(1, 500, 500)]
    for change in put:
        backlog.put(change)
    assert taken(backlog) == put
    assert lost == []


def test_seen_and_gaps_are_what_was_put(backlog, lost):
    """Over two streams of one application, with some taken meanwhile."""
    dice = random.Random(5)
    ends = {1: 0, 2: 0}
    found = []
    for turn in range(2000):
        sub = dice.choice((1, 2))
        count = dice.randrange(1, 60)
        backlog.put(events(sub, ends[sub], count))
        ends[sub] += count
        assert len(backlog) < 1100
        if turn % 500 == 499:
            found += [asyncio.run(backlog.take()) for _ in range(20)]
    found += taken(backlog)
    for sub, end in ends.items():
        at = 0
        for change in found:
            if change.data["sub"] == sub:
                assert change.data["first"] == at
                at += (
                    change.data["count"]
                    if change.what == "gap"
                    else len(change.data["records"]) // 6
                )
        assert at == end
    gaps = [change.data for change in found if change.what == "gap"]
    assert {gap["cause"] for gap in gaps} == {"backlog"}
    assert sum(gap["count"] for gap in gaps) == sum(count for _, count in lost)
    assert 1000 < sum(count for _, count in lost) < sum(ends.values())


def test_rows_become_a_snapshot(backlog):
    up = Change("up", 7, {})
    for rev in range(1, 50):
        backlog.put(rows(1, rev, 30))
        if rev == 2:
            backlog.put(up)
        assert len(backlog) < 40
    found = taken(backlog)
    assert [change.what for change in found[:2]] == ["up", "snapshot"]
    assert {change.what for change in found[2:]} == {"rows"}
    revs = [change.data["rev"] for change in found[1:]]
    assert revs == list(range(revs[0], 50))


def test_the_end_comes_after_what_is_there(backlog):
    backlog.put(rows(1, 1, 1))
    backlog.close()

    async def take():
        return [(await backlog.take()) is None for _ in range(3)]

    assert asyncio.run(take()) == [False, True, True]
