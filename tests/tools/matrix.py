"""Runs the test matrix, Python x binding x host, and prints its table.

    matrix.py [--python X.Y] [--binding NAME] [--host NAME] [--suite NAME] [--readme]
    matrix.py --stored [--readme]

Each option may be given several times; without any, everything runs.  noxfile.py is
what runs; here the interpreters are found, the sessions chosen and the results
tabulated.  The table is written to build/matrix/table.md, with --readme also into
README.md; both hold the newest result of every cell, of this run or an earlier one.
With --stored nothing runs: the table is of the earlier results.

The exit code is 1 if a cell of this run failed; one that cannot be had (no wheel, no
interpreter) did not fail.
"""

import argparse
import glob
import os
import pathlib
import subprocess
import sys

import matrix_cells as cells

README = cells.ROOT / "README.md"
BEGIN = "<!-- matrix: written by ./dev matrix --readme -->"
END = "<!-- matrix: end -->"

# --- interpreters ---------------------------------------------------------------------

PROBE = (
    "import sys, sysconfig; v = sys.version_info; "
    "print('%d.%d' % v[:2], sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
)


def candidates(version):
    """Files that may be an interpreter of the version, the preferred first."""
    name = "python" + version
    for entry in os.environ.get("QTINTER_PYTHONS", "").split(os.pathsep):
        path = pathlib.Path(entry).expanduser()
        if entry:
            yield path / name if path.is_dir() else path
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield pathlib.Path(folder or ".") / name
    versions = pathlib.Path("~/.pyenv/versions").expanduser()
    for path in sorted(glob.glob(f"{versions}/{version}*/bin/{name}"), reverse=True):
        yield pathlib.Path(path)


def find_interpreter(version):
    """An interpreter that runs, is of this version and has the GIL; None if none is."""
    for path in candidates(version):
        if not os.access(path, os.X_OK):
            continue
        # A shim of pyenv is there for versions, too, that it refuses to run.
        probe = subprocess.run(
            [str(path), "-c", PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if probe.returncode == 0 and probe.stdout.split() == [version, "0"]:
            return path
    return None


def show_to_nox(interpreters):
    """A folder for PATH in which nox finds just these interpreters.

    The folders in which they are hold much else (pip, cmake) that must not come before
    what the machine has under these names.  Each file is replaced at once and none is
    removed, because another run of the matrix may be using them.
    """
    folder = cells.WORK / "interpreters"
    folder.mkdir(parents=True, exist_ok=True)
    for version, path in interpreters.items():
        # Not a link: a Python looks for its library where it was called.
        script = folder / ("python" + version)
        new = folder / f"{script.name}.{os.getpid()}"
        new.write_text(f'#!/bin/sh\nexec "{path}" "$@"\n')
        new.chmod(0o755)
        new.replace(script)
    return folder


# --- running --------------------------------------------------------------------------


def choose_sessions(pythons, bindings, hosts):
    """Names of the nox sessions, and the folder for PATH that they need.

    Cells of a version without any interpreter get their outcome here.
    """
    versions = [version for version in pythons if version != cells.SYSTEM]
    found = {version: find_interpreter(version) for version in versions}
    names = []
    for version in pythons:
        for binding in bindings:
            if version == cells.SYSTEM:
                names.append(f"system({binding})")
            elif found[version] is not None:
                names.append(f"cell-{version}({binding})")
            elif version in cells.SID_PYTHONS:
                names.append(f"sid({version}, {binding})")
            else:
                reason = f"there is no python{version} here"
                for host in hosts:
                    cells.write_result(
                        (version, binding, host), {"unavailable": reason}
                    )
    here = {version: path for version, path in found.items() if path is not None}
    return names, show_to_nox(here)


def run_nox(names, folder, options):
    if not names:
        return
    path = os.pathsep.join([str(folder), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "nox", "--sessions", *names, "--", *options]
    # Its exit code says no more than the results do.
    subprocess.run(command, cwd=str(cells.ROOT), env=dict(os.environ, PATH=path))


# --- the table on the terminal --------------------------------------------------------


def describe_failure(key, outcome):
    """Lines about a cell that failed: counts, reason, where to read on."""
    yield f"{' '.join(key)}: {outcome.get('error') or 'failed'}"
    reports = cells.WORK / "cells" / "-".join(key) / "reports"
    for suite in outcome.get("suites", ()):
        if suite["failed"] or suite["problem"]:
            problem = f" ({suite['problem']})" if suite["problem"] else ""
            yield (
                f"  {suite['name']}: {suite['failed']} failed{problem}: "
                f"{reports / suite['log']}"
            )
    if "suites" not in outcome:
        yield f"  {cells.WORK / 'logs' / '-'.join(key[:2])}"


def summary(outcome):
    """A cell in a few words."""
    if "unavailable" in outcome:
        return "cannot be had"
    if "error" in outcome:
        return "ERROR"
    passed = sum(suite["passed"] for suite in outcome["suites"])
    skipped = sum(suite["skipped"] for suite in outcome["suites"])
    text = f"{passed} passed, {skipped} skipped"
    if cells.has_failed(outcome):
        text += f", {cells.failures(outcome)} FAILED"
    return text


def print_table(results):
    rows = [("Python", "binding", "Qt", "host", "result")]
    for (python, binding, host), outcome in results.items():
        versions = (
            outcome.get("python", python),
            f"{binding} {outcome.get('binding_version', '')}".strip(),
            outcome.get("qt_version", "-"),
        )
        rows.append((*versions, host, summary(outcome)))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    print()
    for row in rows:
        cols = [text.ljust(width) for text, width in zip(row, widths)]
        print("  ".join([*cols, row[-1]]))
    reasons = {}
    for key, outcome in results.items():
        if "unavailable" in outcome:
            reasons.setdefault(outcome["unavailable"], []).append(" ".join(key))
    if reasons:
        print("\nCannot be had:")
        for reason, keys in reasons.items():
            print(f"  {', '.join(keys)}: {reason}")
    failed = {k: outcome for k, outcome in results.items() if cells.has_failed(outcome)}
    if failed:
        print("\nFailed:")
        for key, outcome in failed.items():
            print("\n".join("  " + line for line in describe_failure(key, outcome)))


# --- the table in Markdown ------------------------------------------------------------


class Notes:
    """Numbered notes below the table; the same text has one number."""

    def __init__(self):
        self.texts = []

    def number(self, text):
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def what_failed(outcome):
    """The functions that failed in a cell, and what else was wrong with its suites."""
    words = {}
    for suite in outcome["suites"]:
        names = [f"`{name.split('[')[0]}`" for name in suite.get("failures", ())]
        for word in names + [suite["problem"]] * bool(suite["problem"]):
            words[word] = words.get(word, 0) + 1
    told = [word if n == 1 else f"{word} × {n}" for word, n in words.items()]
    return "failed: " + ", ".join(told)


def markdown_cell(outcomes, notes):
    """Both hosts of one Python and binding: versions, hosts, what went wrong."""
    outcomes = {host: outcome for host, outcome in outcomes.items() if outcome}
    if not outcomes:
        return "not run"
    reasons = {outcome.get("unavailable") for outcome in outcomes.values()}
    if None not in reasons:
        return " ".join(f"– ({notes.number(reason)})" for reason in sorted(reasons))
    words = []
    for host, outcome in outcomes.items():
        if "unavailable" in outcome:
            words.append(f"{host} – ({notes.number(outcome['unavailable'])})")
        elif "error" in outcome:
            words.append(f"{host} – ({notes.number(outcome['error'])})")
        elif cells.has_failed(outcome):
            number = notes.number(what_failed(outcome))
            words.append(f"{host}: {cells.failures(outcome)} failed ({number})")
        else:
            words.append(host)
    known = [o for o in outcomes.values() if "qt_version" in o]
    versions = sorted({f"{o['binding_version']} (Qt {o['qt_version']})" for o in known})
    return f"{' / '.join(versions)}: {', '.join(words)}".lstrip(": ")


def markdown(results):
    """The table of all cells in `results`, {(python, binding, host): outcome}."""
    notes = Notes()
    lines = [
        "| Python | " + " | ".join(cells.BINDINGS) + " |",
        "|---|" + "---|" * len(cells.BINDINGS),
    ]
    for python in cells.PYTHONS:
        row = {key: o for key, o in results.items() if key[0] == python}
        if not row:
            continue
        full = {o["python"] for o in row.values() if "python" in o}
        name = ", ".join(sorted(full)) or python
        columns = [f"{name}{origin(python, row)}"]
        for binding in cells.BINDINGS:
            hosts = {host: row.get((python, binding, host)) for host in cells.HOSTS}
            columns.append(markdown_cell(hosts, notes))
        lines.append("| " + " | ".join(columns) + " |")
    lines.append("")
    lines += [f"({i}) {text}  " for i, text in enumerate(notes.texts, 1)]
    return "\n".join([*lines, "", *provenance(results), ""])


def origin(python, row):
    """Where a row's Python and bindings are from, unless they are from the index."""
    systems = {o["system"] for o in row.values() if "system" in o}
    if python == cells.SYSTEM:
        return f" (packages of {', '.join(sorted(systems)) or 'the system'})"
    return " (sid)" if any("sid" in system for system in systems) else ""


def provenance(results):
    """When, where and with which headers the results came about."""
    tested = {key: o for key, o in results.items() if "suites" in o}
    ran = tested.values()
    dates = sorted({suite["date"] for o in ran for suite in o["suites"]})
    systems = sorted({o["system"] for o in ran})
    headers = {(o["system"], o["qt_headers"]) for o in ran if o.get("qt_headers")}
    if not ran:
        return ["Nothing was run."]
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    lines = [f"Run {when} on {'; '.join(systems)}."]
    if headers:
        compiled = [f"Qt {qt} ({system})" for system, qt in sorted(headers)]
        lines.append(f"Native hosts were compiled against {', '.join(compiled)}.")
    suites = {}
    for key, outcome in tested.items():
        for suite in outcome["suites"]:
            commits = suites.setdefault(suite["name"], {})
            commits.setdefault(suite["commit"] or "unknown", []).append(key)
    lines.append("")
    for name, commits in suites.items():
        for commit, keys in commits.items():
            lines.append(f"- Suite `{name}`, commit {commit}: {named(keys, tested)}.")
    return lines


def named(keys, every):
    """Cells in words, the Pythons of a binding and host together."""
    if len(keys) == len(every):
        return "all cells that ran"
    pythons = {}
    for python, binding, host in keys:
        pythons.setdefault((binding, host), []).append(python)
    return "; ".join(
        f"{binding} {host} on {', '.join(versions)}"
        for (binding, host), versions in pythons.items()
    )


def put_into_readme(table):
    """Replaces what stands between the markers of README.md."""
    text = README.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"error: {README} has not both markers, {BEGIN} and {END}")
    new = f"{before}{BEGIN}\n\n{table.strip()}\n\n{END}{after}"
    README.write_text(new, encoding="utf-8")


# --- command line ---------------------------------------------------------------------


def stored_results():
    results = {}
    for python in cells.PYTHONS:
        for binding in cells.BINDINGS:
            for host in cells.HOSTS:
                outcome = cells.read_result((python, binding, host))
                if outcome is not None:
                    results[python, binding, host] = outcome
    return results


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="./dev matrix", description=__doc__.splitlines()[0]
    )
    choices = {
        "--python": cells.PYTHONS,
        "--binding": cells.BINDINGS,
        "--host": cells.HOSTS,
        "--suite": cells.SUITES,
    }
    for option, values in choices.items():
        parser.add_argument(
            option,
            action="append",
            choices=values,
            metavar="|".join(values),
            help="only this; may be given several times",
        )
    parser.add_argument(
        "--readme", action="store_true", help="put the table into README.md"
    )
    parser.add_argument(
        "--stored", action="store_true", help="run nothing: the stored results only"
    )
    return parser.parse_args()


def run(wanted):
    """Runs the cells that the command line names; returns their outcomes by key."""
    pythons = wanted.python or cells.PYTHONS
    bindings = wanted.binding or cells.BINDINGS
    hosts = wanted.host or cells.HOSTS
    keys = [(p, b, h) for p in pythons for b in bindings for h in hosts]
    for key in keys:
        cells.set_aside(key)

    options = [f"--host={host}" for host in hosts]
    options += [f"--suite={suite}" for suite in wanted.suite or ()]
    names, folder = choose_sessions(pythons, bindings, hosts)
    run_nox(names, folder, options)

    results = {}
    for key in keys:
        results[key] = cells.read_result(key) or cells.write_result(
            key, {"error": "nox ended its session before there was a result"}
        )
    return results


def main():
    wanted = parse_arguments()
    results = stored_results() if wanted.stored else run(wanted)
    print_table(results)
    table = markdown(stored_results())
    cells.WORK.mkdir(parents=True, exist_ok=True)
    (cells.WORK / "table.md").write_text(table, encoding="utf-8")
    print(f"\nAs Markdown: {cells.WORK / 'table.md'}")
    if wanted.readme:
        put_into_readme(table)
    return 1 if any(map(cells.has_failed, results.values())) else 0


if __name__ == "__main__":
    sys.exit(main())
