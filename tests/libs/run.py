"""Other people's libraries on our loop: the programs here, then the libraries' suites.

    run.py --work-dir DIR [--all] [--only programs|suites] [library ...]

Names of libraries limit the suites.  The exit code is 1 if anything failed.
"""

import argparse
import os
import pathlib
import re
import sys

import suites
import upstream

HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]

# A program that hangs fails by itself; this ends what does not.
PROGRAMS_TIMEOUT = 900


def run_programs(work, configuration):
    """Runs the tests of this folder; returns whether they passed."""
    binding, host = configuration
    log = work / f"programs-{binding}-{host}.log"
    # From the folder above, and not -m pytest: the checkout is not to be imported.
    command = [str(pathlib.Path(sys.executable).parent / "pytest"), "tests/libs"]
    command += ["-v", "--color=no", "--tb=short", "-p", "no:cacheprovider"]
    env = dict(os.environ, QTINTERBINDING=binding, QTINTER_HOST=host)
    env.update(QT_QPA_PLATFORM="offscreen", QT_API=binding.lower())
    # pytest-qt and pytest-asyncio are for the projects of inner/, which load them.
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    problem = upstream.run_bounded(command, CHECKOUT, env, log, PROGRAMS_TIMEOUT)
    text = log.read_text(errors="replace")
    summary = re.findall(r"^=+ (.* in .*) =+$", text, re.MULTILINE) or ["no summary"]
    print(f"  {binding} {host:<10}{problem or summary[-1]}", flush=True)
    passed = not problem and "passed" in summary[-1]
    passed = passed and not re.search(r"\d (failed|error)", summary[-1])
    if not passed:
        print(text, flush=True)
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work-dir", required=True, type=pathlib.Path)
    parser.add_argument("--all", action="store_true", help="every binding and host")
    parser.add_argument("--only", choices=["programs", "suites"])
    parser.add_argument("library", nargs="*", help="of " + ", ".join(suites.SUITES))
    arguments = parser.parse_args()
    unknown = set(arguments.library) - set(suites.SUITES)
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    work = arguments.work_dir.resolve()
    work.mkdir(parents=True, exist_ok=True)

    passed = failed = 0
    if arguments.only != "suites" and not arguments.library:
        print("== programs", flush=True)
        for configuration in upstream.CONFIGURATIONS:
            good = run_programs(work, configuration)
            passed, failed = passed + good, failed + (not good)
    if arguments.only != "programs":
        names = arguments.library or sorted(suites.SUITES)
        chosen = upstream.CONFIGURATIONS if arguments.all else upstream.USUAL
        reports = [
            upstream.examine(suites.SUITES[name], work, chosen) for name in names
        ]
        upstream.print_table(reports, chosen)
        good = sum(report.is_good for report in reports)
        passed, failed = passed + good, failed + len(reports) - good
    print(f"\n{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
