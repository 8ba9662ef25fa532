"""Two loops run one after the other; prints what of Qt is in the process then."""

import asyncio
import importlib.util
import json
import os
import re
import sys

import qtinter
from qtinter._hosts import GLUE_MODULES
from qtinter.bindings import SUPPORTED, QtCore, binding_name

# The more of the binding is loaded, the more could have come from elsewhere.
if importlib.util.find_spec(f"{binding_name}.QtWidgets") is not None:
    from qtinter.bindings import QtWidgets

    app = QtWidgets.QApplication([])
else:
    app = QtCore.QCoreApplication([])


async def main():
    await asyncio.sleep(0.001)
    return asyncio.get_running_loop().host_name


def mapped_qt():
    """{(device, inode): path} of every library of Qt."""
    found = {}
    with open("/proc/self/maps") as maps:
        for line in maps:
            fields = line.rstrip("\n").split(maxsplit=5)
            if len(fields) == 6 and re.search(r"/libQt\d\w+[-.][^/]*$", fields[5]):
                found[fields[3], fields[4]] = fields[5]
    return found


ran_with = [qtinter.run(main()), qtinter.run(main())]
libraries = mapped_qt().values()
report = {
    "hosts": ran_with,
    "bindings": [name for name in SUPPORTED if name in sys.modules],
    "cores": [path for path in libraries if re.search(r"/libQt\dCore[-.]", path)],
    "folders": sorted({os.path.dirname(path) for path in libraries}),
    "native hosts": [name for name in GLUE_MODULES.values() if name in sys.modules],
}
print(json.dumps(report))
