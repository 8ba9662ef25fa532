"""Command line, and the schedule of child processes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from . import child, report
from .peers import DEFAULT_PEERS, PEERS, Peer, child_environment, choose
from .registry import WORKLOADS, Workload

RUN = Path(__file__).resolve().parent.parent / "run.py"
CHILD_FLAG = "--child"
TIMEOUT_S = 180.0


@dataclass
class Answer:
    """What one child process gave: a JSON object, or the reason why it did not."""

    data: Dict[str, Any] = field(default_factory=dict)
    error: Optional[str] = None
    stderr: str = ""


def _kill_group(process: subprocess.Popen) -> None:
    """Kill the child and what it started (it leads its own process group)."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended in the meantime


def run_child(peer: Peer, task: str, size: str, extra_env: Dict[str, str]) -> Answer:
    """Run one child process to its end; every way to fail becomes ``error``."""
    process = subprocess.Popen(
        [sys.executable, str(RUN), CHILD_FLAG, peer.name, task, size],
        env=child_environment(peer, extra_env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        _kill_group(process)
        stdout, stderr = process.communicate()
        return Answer(error=f"no end after {TIMEOUT_S:g} s", stderr=stderr)
    except BaseException:
        _kill_group(process)
        process.wait()
        raise
    if process.returncode != 0:
        return Answer(error=f"exit status {process.returncode}", stderr=stderr)
    try:
        return Answer(json.loads(stdout.splitlines()[-1]), stderr=stderr)
    except (IndexError, ValueError):
        return Answer(error=f"unreadable answer {stdout[-200:]!r}", stderr=stderr)


def probe(peers: Sequence[Peer]) -> Dict[str, Answer]:
    """Versions of each peer, and whether it is there at all."""
    return {peer.name: run_child(peer, "probe", "tiny", {}) for peer in peers}


def measure_all(
    peers: Sequence[Peer],
    workloads: Sequence[Workload],
    rounds: int,
    size: str,
    progress: Any,
) -> Dict[str, Dict[str, List[Answer]]]:
    """Answers by workload and peer; the peers take turns within each round."""
    answers: Dict[str, Dict[str, List[Answer]]] = {}
    for workload in workloads:
        by_peer = answers[workload.name] = {peer.name: [] for peer in peers}
        for index in range(rounds):
            for peer in peers:
                given = by_peer[peer.name]
                if given and given[0].data.get("not_applicable"):
                    continue  # it will not have that facility in a later round
                progress(f"{workload.name}: round {index + 1}/{rounds}, {peer.name}")
                given.append(run_child(peer, workload.name, size, dict(workload.env)))
    return answers


def _machine() -> Dict[str, Any]:
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            names = re.findall(r"model name\s*:\s*(.+)", info.read())
        model = names[0] if names else model
    except OSError:
        pass  # not Linux: the platform module's answer will do
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": model,
        "processors": os.cpu_count(),
    }


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev bench",
        description="Measure qtinter beside asyncio, uvloop and qasync.",
        epilog=f"Peers: {', '.join(PEERS)}. Workloads: {', '.join(WORKLOADS)}.",
    )
    parser.add_argument("--rounds", type=int, help="default 5; with --quick 3")
    parser.add_argument("--quick", action="store_true", help="3 rounds, shorter loops")
    parser.add_argument(
        "--only", metavar="REGEX", default="", help="workloads whose name matches"
    )
    parser.add_argument(
        "--peers",
        metavar="LIST",
        default=",".join(DEFAULT_PEERS),
        help="comma-separated names or wildcards; default %(default)s",
    )
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--json", metavar="FILE", help="also write every round there")
    parser.add_argument(
        "--check", action="store_true", help="exit status 2 if a must-have is missed"
    )
    parser.add_argument("--list", action="store_true", help="list workloads and peers")
    return parser


def _choose_workloads(regex: str) -> List[Workload]:
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise ValueError(f"--only {regex!r}: {error}") from None
    chosen = [item for item in WORKLOADS.values() if pattern.search(item.name)]
    if not chosen:
        raise ValueError(f"no workload matches {regex!r}; see --list")
    return chosen


def _print_list() -> None:
    for workload in WORKLOADS.values():
        print(f"{workload.name:20} {workload.title}")
    print()
    for name in PEERS:
        print(f"{name}{' (default)' if name in DEFAULT_PEERS else ''}")


def _show_progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _clear_progress() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def main(arguments: List[str]) -> int:
    """Exit status: 0; 1 if a process of ours failed; 2 for bad usage or --check.

    A failure of another peer is reported in the table and below it, no more: it says
    nothing about us.
    """
    if arguments[:1] == [CHILD_FLAG]:
        return child.main(arguments[1:])
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    parser = _make_parser()
    options = parser.parse_args(arguments)
    if options.list:
        _print_list()
        return 0
    rounds = options.rounds
    if rounds is None:
        rounds = 3 if options.quick else 5
    try:
        peers = choose(options.peers)
        workloads = _choose_workloads(options.only)
        if rounds < 1:
            raise ValueError("--rounds must be at least 1")
        if options.check and not any(peer.is_attached for peer in peers):
            raise ValueError("--check needs an attached peer")
    except ValueError as error:
        parser.error(str(error))

    started = time.time()
    load = os.getloadavg()[0]
    probes = probe(peers)
    present = [
        peer
        for peer in peers
        if probes[peer.name].error is None
        and "not_installed" not in probes[peer.name].data
    ]
    size = "quick" if options.quick else "full"
    answers = measure_all(present, workloads, rounds, size, _show_progress)
    _clear_progress()

    outcome = report.Outcome(
        machine={**_machine(), "load": [load, os.getloadavg()[0]]},
        started=started,
        seconds=time.time() - started,
        rounds=rounds,
        size=size,
        peers=peers,
        probes=probes,
        workloads=workloads,
        answers=answers,
    )
    print(report.render(outcome, markdown=options.markdown))
    if options.json:
        Path(options.json).write_text(
            json.dumps(report.as_json(outcome), indent=1), encoding="utf-8"
        )
    if any(peer.is_ours for peer, _task, _answer in report.errors(outcome)):
        return 1
    missed = report.missed(outcome) if options.check else []
    for item in missed:
        print(f"MISSED {item}")
    return 2 if missed else 0
