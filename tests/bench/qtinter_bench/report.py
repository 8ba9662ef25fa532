"""Medians, ratios and the table of one run."""

from __future__ import annotations

import math
import re
import statistics
import time
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from .peers import Peer
from .registry import Line, Workload
from .targets import Target, advantage, is_no_difference

STDERR_LINES = 20
"""How much of a failed child's standard error is shown: the end tells the cause."""


@dataclass
class Outcome:
    """Everything one run found; ``answers`` by workload name and peer name."""

    machine: Dict[str, Any]
    started: float
    seconds: float
    rounds: int
    size: str
    peers: Sequence[Peer]
    probes: Dict[str, Any]
    workloads: Sequence[Workload]
    answers: Dict[str, Dict[str, List[Any]]]


# --- numbers -------------------------------------------------------------------------


def _cost_lines(answers: Iterable[Any]) -> List[Line]:
    """Cost of one operation, for workloads in which that is a meaningful figure."""
    if not any(answer.data.get("usage") for answer in answers):
        return []
    return [
        Line("cpu", "  CPU per operation", "µs"),
        Line("switches", "  voluntary switches per operation", ""),
    ]


def _value(data: Dict[str, Any], line: Line, is_cost: bool) -> Optional[float]:
    """The number of one line in one child's answer."""
    if not is_cost:
        return data["values"].get(line.key) if "values" in data else None
    usage = data.get("usage")
    if not usage:
        return None
    used = usage["cpu_ns"] / 1e3 if line.key == "cpu" else usage["voluntary"]
    return used / data["operations"]


def _over_rounds(line: Line, numbers: Sequence[float]) -> float:
    if line.worst:
        return min(numbers) if line.higher_is_better else max(numbers)
    return statistics.median(numbers)


@dataclass(frozen=True)
class Row:
    """One line of the table; ``medians`` by the peers that gave a number.

    Lines marked ``worst`` have the worst round there instead.
    """

    workload: Workload
    line: Line
    is_cost: bool
    medians: Dict[str, float]


def rows(outcome: Outcome) -> List[Row]:
    """The lines of the table in order, with the medians over all rounds."""
    found = []
    for workload in outcome.workloads:
        by_peer = outcome.answers[workload.name]
        cost = _cost_lines(answer for given in by_peer.values() for answer in given)
        for line in (*workload.lines, *cost):
            is_cost = line in cost
            medians = {}
            for name, given in by_peer.items():
                numbers = [_value(answer.data, line, is_cost) for answer in given]
                known = [number for number in numbers if number is not None]
                if known:
                    medians[name] = _over_rounds(line, known)
            found.append(Row(workload, line, is_cost, medians))
    return found


def _attached(outcome: Outcome) -> List[str]:
    return [peer.name for peer in outcome.peers if peer.is_attached]


def references(outcome: Outcome, row: Row) -> Dict[str, float]:
    """The values to compare ours with: asyncio, uvloop, and the best other peer."""
    others = {
        peer.name: row.medians[peer.name]
        for peer in outcome.peers
        if not peer.is_ours and peer.name in row.medians
    }
    known = {name: others[name] for name in ("asyncio", "uvloop") if name in others}
    if others:
        best = max if row.line.higher_is_better else min
        known["best"] = best(others.values())
    return known


def missed(outcome: Outcome) -> List[str]:
    """Must-haves that an attached peer of ours does not reach.

    A line without a number is missed too; one without a peer to compare with is not.
    """
    return [
        f"{_title(row)}: {peer}: {target.text}"
        for row in rows(outcome)
        for peer in _attached(outcome)
        for target in row.line.must
        if peer not in row.medians or _verdict(outcome, row, peer, target) is False
    ]


def _verdict(outcome: Outcome, row: Row, peer: str, target: Target) -> Optional[bool]:
    if peer not in row.medians:
        return None
    return target.met(
        row.medians[peer], references(outcome, row), row.line.higher_is_better
    )


# --- what went wrong -----------------------------------------------------------------


def _all_answers(outcome: Outcome) -> Iterable[Tuple[Peer, str, Any]]:
    for peer in outcome.peers:
        yield peer, "start", outcome.probes[peer.name]
        for workload in outcome.workloads:
            given = outcome.answers[workload.name].get(peer.name, [])
            for index, answer in enumerate(given):
                yield peer, f"{workload.name}, round {index + 1}", answer


def errors(outcome: Outcome) -> List[Tuple[Peer, str, Any]]:
    """Children that failed, with the peer and what they were to do."""
    return [item for item in _all_answers(outcome) if item[2].error is not None]


def _tail(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines()[-STDERR_LINES:])


def _describe_errors(outcome: Outcome) -> List[str]:
    """One paragraph for each different failure, naming every task it struck.

    Failures that differ only in addresses are the same; the first one's text is shown.
    """
    grouped: Dict[Tuple[str, str, str], List[Tuple[str, Any]]] = {}
    for peer, task, answer in errors(outcome):
        text = re.sub(r"0x[0-9a-fA-F]+", "0x", _tail(answer.stderr))
        grouped.setdefault((peer.name, answer.error, text), []).append((task, answer))
    return [
        f"ERROR {peer}: {'; '.join(task for task, _answer in struck)}: {error}\n"
        f"{_tail(struck[0][1].stderr)}".rstrip()
        for (peer, error, _text), struck in grouped.items()
    ]


def _describe_output(outcome: Outcome) -> List[str]:
    """What children that succeeded wrote to standard error; each text once."""
    seen: Dict[Tuple[str, str], List[str]] = {}
    for peer, task, answer in _all_answers(outcome):
        if answer.error is None and answer.stderr.strip():
            seen.setdefault((peer.name, _tail(answer.stderr)), []).append(task)
    return [
        f"NOTE {peer} wrote to standard error ({tasks[0]}; {len(tasks)} times):\n{text}"
        for (peer, text), tasks in seen.items()
    ]


# --- text ----------------------------------------------------------------------------


def format_number(value: float, unit: str) -> str:
    """Three significant digits; rates with k or M; times and sizes with the unit."""
    if unit == "count":
        return f"{value:g}"
    if unit == "/s":
        for factor, letter in ((1e6, " M"), (1e3, " k")):
            if value >= factor:
                return _three_digits(value / factor) + letter
        return _three_digits(value)
    return f"{_three_digits(value)} {unit}".rstrip()


def _three_digits(value: float) -> str:
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{min(max(digits, 0), 3)}f}"


def format_ratio(ratio: float) -> str:
    """Two or three digits; "≈" where it is no difference."""
    if is_no_difference(ratio):
        return "≈"
    if math.isinf(ratio):
        return "∞"
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def _title(row: Row) -> str:
    if row.is_cost:
        return row.line.label
    unit = f", {row.line.unit}" if row.line.unit == "/s" else ""
    label = f": {row.line.label}" if row.line.label else ""
    return f"{row.workload.title}{label}{unit}"


def _cell(outcome: Outcome, row: Row, peer: Peer) -> str:
    probe = outcome.probes[peer.name]
    if "not_installed" in probe.data:
        return "not installed"
    if probe.error is not None:
        return "error"
    given = outcome.answers[row.workload.name][peer.name]
    failed = sum(answer.error is not None for answer in given)
    if peer.name in row.medians:
        mark = f" ({failed} failed)" if failed else ""
        return format_number(row.medians[peer.name], row.line.unit) + mark
    return "error" if failed else "n/a"


def _ratios(outcome: Outcome, row: Row, reference: str) -> str:
    """Advantage of each attached peer of ours, in column order."""
    other = references(outcome, row).get(reference)
    cells = []
    for name in _attached(outcome):
        if other is None or name not in row.medians:
            cells.append("–")
            continue
        ours = row.medians[name]
        cells.append(format_ratio(advantage(ours, other, row.line.higher_is_better)))
    return " / ".join(cells) if set(cells) - {"–"} else "–"


def _verdicts(outcome: Outcome, row: Row, targets: Sequence[Target]) -> str:
    """Each requirement with one mark for each attached peer of ours."""
    marks = {True: "✓", False: "✗", None: "?"}
    return "; ".join(
        target.text
        + " "
        + "".join(
            marks[_verdict(outcome, row, name, target)] for name in _attached(outcome)
        )
        for target in targets
    )


def _table(outcome: Outcome) -> List[List[str]]:
    compare = bool(_attached(outcome))
    head = ["workload", *(peer.name for peer in outcome.peers)]
    if compare:
        head += ["× best other", "× asyncio", "× uvloop", "must hold", "final target"]
    table = [head]
    for row in rows(outcome):
        cells = [_title(row), *(_cell(outcome, row, peer) for peer in outcome.peers)]
        if compare:
            cells += [
                _ratios(outcome, row, "best"),
                _ratios(outcome, row, "asyncio"),
                _ratios(outcome, row, "uvloop"),
                _verdicts(outcome, row, row.line.must),
                _verdicts(outcome, row, row.line.aim),
            ]
        table.append(cells)
    return table


def _as_markdown(table: List[List[str]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    ruler = ["---"] + ["---:"] * (len(table[0]) - 1)
    indented = [[row[0].replace("  ", "&nbsp;&nbsp;"), *row[1:]] for row in table[1:]]
    return "\n".join([line(table[0]), line(ruler), *map(line, indented)])


def _as_text(table: List[List[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def versions(outcome: Outcome) -> Dict[str, str]:
    """Versions of everything in the run, as the children reported them."""
    found: Dict[str, str] = {}
    for peer in outcome.peers:
        found.update(outcome.probes[peer.name].data.get("versions", {}))
    return found


def _heading(outcome: Outcome) -> List[str]:
    machine = outcome.machine
    hosts = {
        peer.name: outcome.probes[peer.name].data["host"]
        for peer in outcome.peers
        if outcome.probes[peer.name].data.get("host")
    }
    before, after = machine["load"]
    begun = time.strftime("%F %R", time.gmtime(outcome.started))
    lines = [
        ", ".join(f"{name} {number}" for name, number in versions(outcome).items()),
        f"{machine['system']}, {machine['processors']} × {machine['processor']}; "
        f"load {before:.2f} before, {after:.2f} after",
        f"medians of {outcome.rounds} interleaved rounds, {outcome.size} loops, one "
        f"process each, offscreen; {begun} UTC, {outcome.seconds:.0f} s",
    ]
    if max(before, after - 1) > machine["processors"] / 2:  # our child is one of them
        lines.append("the machine was busy: trust CPU per operation rather than rates")
    if hosts:
        lines.append("hosts: " + ", ".join(f"{k}: {v}" for k, v in hosts.items()))
    if _attached(outcome):
        lines.append(
            "ratios: attached against the other, above 1 = ours is better, "
            f"≈ = no difference (5 %); one for each of {', '.join(_attached(outcome))}"
        )
    return lines


def render(outcome: Outcome, *, markdown: bool) -> str:
    """The whole report: heading, table, then errors and stray output."""
    table = _table(outcome)
    body = _as_markdown(table) if markdown else _as_text(table)
    problems = _describe_errors(outcome) + _describe_output(outcome)
    if markdown:
        heading = "\n".join(f"- {line}" for line in _heading(outcome))
        problems = [f"```text\n{problem}\n```" for problem in problems]
    else:
        heading = "\n".join(_heading(outcome))
    return "\n\n".join([heading, body, *problems])


def as_json(outcome: Outcome) -> Dict[str, Any]:
    """Everything, every round included, for later comparison."""
    return {
        "machine": outcome.machine,
        "started": outcome.started,
        "seconds": outcome.seconds,
        "rounds": outcome.rounds,
        "size": outcome.size,
        "versions": versions(outcome),
        "peers": {
            name: {**answer.data, "error": answer.error, "stderr": answer.stderr}
            for name, answer in outcome.probes.items()
        },
        "workloads": {
            workload.name: {
                "title": workload.title,
                "rounds": {
                    name: [
                        {**a.data, "error": a.error, "stderr": a.stderr} for a in given
                    ]
                    for name, given in outcome.answers[workload.name].items()
                },
            }
            for workload in outcome.workloads
        },
        "medians": [
            {
                "workload": row.workload.name,
                "line": ("cost." if row.is_cost else "") + row.line.key,
                "unit": row.line.unit,
                "medians": row.medians,
            }
            for row in rows(outcome)
        ],
    }
