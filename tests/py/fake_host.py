"""A host that a test cranks by hand, with a clock of its own.

It has the methods of ``struct qi_host`` and is given to ``loop._attach()`` or
``loop._run_nested()``.  Nothing happens by itself: crank() gives the loop one turn if
there is a reason for one, advance() moves the clock and the alarm with it.
"""

import contextlib

TURN_FD, TURN_WAKE = 0, 1


class FakeHost:
    """Records every call of the core in ``calls``; ``clock`` is in nanoseconds."""

    name = "fake"

    def __init__(self):
        self.calls = []
        self.clock = 0
        self.deadline = -1
        self.fd = None
        self.turn = None
        self.woken = False
        self.watching = False
        self.left = False
        self.on_enter = lambda: 0

    # what the core calls

    def start(self, fd, turn):
        self.calls.append("start")
        self.fd, self.turn, self.watching = fd, turn, True

    def stop(self):
        self.calls.append("stop")
        self.watching = self.woken = False

    def watch(self, enabled):
        self.calls.append(f"watch {int(enabled)}")
        self.watching = bool(enabled)

    def wake(self):
        self.calls.append("wake")
        self.woken = True

    def enter(self):
        self.calls.append("enter")
        self.left = False
        return self.on_enter()

    def leave(self):
        self.calls.append("leave")
        self.left = True

    def quit(self):
        self.calls.append("quit")

    def depth(self):
        return 1

    def now_ns(self):
        return self.clock

    def arm(self, deadline_ns):
        self.deadline = deadline_ns

    # what a test calls

    @property
    def alarm_due(self):
        return 0 <= self.deadline <= self.clock

    def crank(self):
        """Give a turn if one is due and return whether it was."""
        if self.woken:
            self.woken = False
            self.turn(TURN_WAKE)
        elif self.alarm_due and self.watching:
            self.deadline = -1
            self.turn(TURN_FD)
        else:
            return False
        return True

    def settle(self, limit=10_000):
        """Crank until nothing is due and return the number of turns."""
        for turns in range(limit):
            if not self.crank():
                return turns
        raise AssertionError(f"still busy after {limit} turns")

    def advance(self, ns):
        """Move the clock, then settle."""
        self.clock += ns
        return self.settle()

    def run_until_left(self):
        """An on_enter for nested runs: crank until leave()."""
        while not self.left:
            if not self.crank():
                if self.deadline < 0:
                    raise AssertionError("the loop sleeps for ever")
                self.clock = self.deadline
        return 0


@contextlib.contextmanager
def attached(loop, host):
    """Attach *loop* to *host* for the block; it may stop inside."""
    loop._run_forever_setup()
    loop._attach(host)
    try:
        yield host
    finally:
        if loop.is_running():
            loop._detach()
            loop._run_forever_cleanup()


def run_nested(loop, host):
    """run_forever() with *host* in place of Qt."""
    loop._run_forever_setup()
    try:
        loop._run_nested(host)
    finally:
        loop._run_forever_cleanup()
