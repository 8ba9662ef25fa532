"""How the test suites of other libraries are run; see upstream.py."""

import importlib.metadata


class Suite:
    """How to run the tests of one library.

    distribution: its name on the package index; tests: what pytest is given, in the
    source distribution; remove: folders there that would hide the installed package;
    plugins: the pytest plugins it needs;
    options: further arguments of pytest; leave_out: {prefix of test ids: why these are
    run neither on asyncio's loop nor on ours}; mode: see plugins/qtinter_everywhere.py;
    part: what of the suite is run, for the table; environment: of its process;
    timeout: seconds after which a run is ended.
    """

    def __init__(
        self,
        distribution,
        tests=("tests",),
        remove=(),
        plugins=(),
        options=(),
        leave_out=None,
        mode="nested",
        part="all",
        environment=None,
        timeout=900,
    ):
        self.distribution = distribution
        self.version = importlib.metadata.version(distribution)
        self.tests = tests
        self.remove = remove
        self.plugins = ("pytest_timeout", *plugins)
        self.options = options
        self.leave_out = leave_out or {}
        self.mode = mode
        self.part = part
        self.environment = environment or {}
        self.timeout = timeout

    @property
    def name(self):
        return f"{self.distribution}-{self.version}"


SUITES = {
    "aiohttp": lambda: Suite(
        "aiohttp",
        tests=[
            "tests/test_client_functional.py",
            "tests/test_client_ws_functional.py",
            "tests/test_connector.py",
            "tests/test_run_app.py",
            "tests/test_streams.py",
            "tests/test_web_functional.py",
            "tests/test_web_sendfile_functional.py",
            "tests/test_web_websocket_functional.py",
        ],
        remove=["aiohttp"],
        plugins=["pytest_mock"],
        options=["-m", "not dev_mode and not internal and not autobahn"],
        part="functional tests",
        timeout=2700,  # it takes its time in any loop, and more on a busy machine
    ),
    "anyio": lambda: Suite(
        "anyio",
        remove=["src"],
        plugins=["anyio.pytest_plugin", "pytest_mock"],
        options=["-m", "not network", "-k", "not trio and not uvloop"],
        part="asyncio backend",
    ),
    "asyncpg": lambda: Suite("asyncpg", remove=["asyncpg"]),
    # The rest of its suite is about cryptography and file formats.
    "asyncssh": lambda: Suite(
        "asyncssh",
        tests=[
            "tests/test_channel.py",
            "tests/test_connection.py",
            "tests/test_forward.py",
            "tests/test_process.py",
            "tests/test_stream.py",
        ],
        remove=["asyncssh"],
        part="connections, channels, processes, forwarding",
    ),
    "httpx": lambda: Suite(
        "httpx",
        remove=["httpx"],
        plugins=["anyio.pytest_plugin"],
        options=["-m", "not network", "-k", "not trio"],
    ),
    "pytest-asyncio": lambda: Suite(
        "pytest-asyncio",
        remove=["pytest_asyncio"],
        # By the environment, so that the sessions that the tests run have it too.
        environment={"PYTEST_PLUGINS": "pytest_asyncio.plugin"},
    ),
    "pytest-qt": lambda: Suite(
        "pytest-qt",
        remove=["src"],
        environment={"PYTEST_PLUGINS": "pytestqt.plugin"},  # as for pytest-asyncio
        # The suite is older than this deprecation of pytest.
        options=["-W", "default::pytest.PytestRemovedIn10Warning"],
        mode="attached",
    ),
    "qtpy": lambda: Suite(
        "qtpy",
        tests=["qtpy/tests"],
        plugins=["pytestqt.plugin"],
        mode="attached",
    ),
    "websockets": lambda: Suite(
        "websockets", tests=["tests/asyncio"], remove=["src"], part="asyncio"
    ),
}
