"""Checks what an extension module shows to the dynamic linker.

    check_symbols.py MODULE.so...

A module may define one dynamic symbol, its PyInit_ function: anything else could
replace a name of another library in the user's process (weak inline Qt functions do).
It must not carry an RPATH: _qtglue has to bind to the Qt that the binding has loaded.
Prints one line per violation and exits with 1 if there is any.
"""

import pathlib
import re
import subprocess
import sys

# Section bounds that linkers define in every object; they are not ours.
LINKER_SYMBOLS = {"_init", "_fini", "__bss_start", "_edata", "_end"}


def _output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def exported_symbols(module):
    """Names of the dynamic symbols that the module defines."""
    lines = _output("nm", "-D", "--defined-only", str(module)).splitlines()
    return {line.split()[-1].split("@")[0] for line in lines if line} - LINKER_SYMBOLS


def needed_libraries(module):
    """SONAMEs that the module asks the dynamic linker for."""
    text = _output("readelf", "-d", str(module))
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", text))


def run_paths(module):
    """Contents of the module's RPATH and RUNPATH entries."""
    return re.findall(
        r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", _output("readelf", "-d", str(module))
    )


def violations(module):
    """Sentences, one for each rule that the module breaks."""
    module = pathlib.Path(module)
    wanted = "PyInit_" + module.name.split(".")[0]
    exported = exported_symbols(module)
    found = []
    if wanted not in exported:
        found.append(f"{module.name} does not export {wanted}")
    for name in sorted(exported - {wanted}):
        found.append(f"{module.name} exports {name}")
    for path in run_paths(module):
        found.append(f"{module.name} has the run path {path!r}")
    return found


def main(modules):
    found = [line for module in modules for line in violations(module)]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
