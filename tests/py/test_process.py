"""_core's probes of its own process: loaded libraries, and memory."""

import ctypes
import gc
import mmap
import os
import sys

import pytest

from qtinter import _core


def mapped_libraries():
    """Real paths of the mapped files that are named like a library."""
    with open("/proc/self/maps") as maps:
        fields = [line.rstrip("\n").split(maxsplit=5) for line in maps]
    paths = {of_line[5] for of_line in fields if len(of_line) == 6}
    return {path for path in paths if os.path.basename(path).startswith("lib")}


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="compares with /proc/self/maps"
)
def test_loaded_libraries_are_those_of_the_kernel(QtCore):
    paths = _core._loaded_libraries("lib")
    assert {os.path.realpath(path) for path in paths} == mapped_libraries()
    assert len(set(paths)) == len(paths)
    assert any("Core" in path for path in _core._loaded_libraries("libQt"))


def test_loaded_libraries_by_the_beginning_of_the_file_name():
    assert _core._loaded_libraries("/") == []
    assert _core._loaded_libraries("no such library") == []
    with pytest.raises(TypeError):
        _core._loaded_libraries(None)


class Thing:
    def method(self):
        pass


def test_pointers_in():
    thing = Thing()
    method = thing.method  # its function, then its object
    pointers = (id(Thing.method), id(thing))
    assert _core._pointers_in(method, 0, 2) == pointers
    assert _core._pointers_in(method, 1, 1) == pointers[1:]
    assert _core._pointers_in(method, 2, 0) == ()


@pytest.mark.parametrize(("skip", "count"), [(-1, 1), (0, -1), (0, 1000), (1000, 1)])
def test_pointers_outside_of_the_object(skip, count):
    with pytest.raises(ValueError, match="of type method has only"):
        _core._pointers_in(Thing().method, skip, count)


def test_object_at():
    thing = Thing()
    assert _core._object_at(id(thing), {id(Thing)}) is thing
    assert _core._object_at(id(thing), {id(Thing), id(dict)}) is thing
    assert _core._object_at(id(thing), {id(dict)}) is None
    assert _core._object_at(id(thing), set()) is None


def test_no_object_at():
    thing = Thing()
    address = id(thing)
    assert _core._object_at(0, {0, id(Thing)}) is None
    assert _core._object_at(address + 1, {id(Thing)}) is None  # not aligned
    assert _core._object_at(-8, {id(Thing)}) is None
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    view = ctypes.c_void_p.from_buffer(memory)
    address = ctypes.addressof(view)
    assert _core._object_at(address, {id(Thing)}) is None  # no references, no type
    del view
    gc.collect()
    memory.close()
    assert _core._object_at(address, {id(Thing)}) is None  # not mapped any more
    # An object at the end of a page, the next of which is not mapped.
    assert _core._object_at(address - 8, {id(Thing)}) is None


def test_freed_object():
    thing = Thing()
    address = id(thing)
    del thing
    assert _core._object_at(address, {id(Thing)}) is None
