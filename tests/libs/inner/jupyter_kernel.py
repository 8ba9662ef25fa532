"""A Jupyter kernel whose event loop is ours: Qt works in its cells without %gui.

argv: the arguments of ipykernel_launcher.
"""

import asyncio
import sys
import warnings

from ipykernel.kernelapp import IPKernelApp

import qtinter
from qtinter.bindings import QtWidgets

app = QtWidgets.QApplication(sys.argv[:1])
with warnings.catch_warnings():
    # Kernels choose their loop by policy; asyncio deprecates these from 3.14 on.
    warnings.simplefilter("ignore", DeprecationWarning)
    asyncio.set_event_loop_policy(qtinter.QiDefaultEventLoopPolicy())
IPKernelApp.launch_instance(sys.argv[1:])
