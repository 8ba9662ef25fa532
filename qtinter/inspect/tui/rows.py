"""What a table shows, in order: filtered, sorted or as a tree, with bounded work.

The rows belong to somebody else and change all the time.  A :class:`RowModel` is told
which have changed and does what follows from that in slices: :meth:`RowModel.work`
returns when its time is up and goes on the next time, so that a hundred thousand rows
never stop the screen.  Nothing here knows a terminal.
"""

from __future__ import annotations

import collections
import itertools
import time
from typing import (
    Any,
    Callable,
    Dict,
    Generic,
    Hashable,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    TypeVar,
)

Ident = Hashable
Item = TypeVar("Item")

CHUNK = 256  # rows between two looks at the clock
# Where nothing is shown yet, so many rows are as soon as they are known.
PREVIEW = 2 * CHUNK
# Sorting again, and building a tree again, take at most this share of the time.
SORT_SHARE = 0.1
# At least so many rows' filter is judged again in each slice: ages change.
RECHECKED = 128


class Group(NamedTuple):
    """A row of a tree that stands for no row of the table: an object, a slot."""

    text: str
    live: bool = True


class Forest(NamedTuple):
    """How the rows of a tree hang together.

    :ivar parent: what a row hangs on; None: it is a root.
    :ivar group: the row for an ident that has none of its own.
    """

    parent: Callable[[Any], Optional[Ident]]
    group: Callable[[Ident], Optional[Group]]


class RowModel(Generic[Item]):
    """The order of the rows of a table.

    :param get: the row of an ident; None if there is none, or it is not to be shown.
    :param idents: all idents; called when everything is to be looked at again.

    :ivar order: the idents that are shown.
    :ivar total: how many rows there are, shown or not.
    """

    def __init__(
        self,
        get: Callable[[Ident], Item | None],
        idents: Callable[[], Iterable[Ident]],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.order: List[Ident] = []
        self.total = 0
        self.version = 0  # grows when the order changes
        self._get = get
        self._idents = idents
        self._clock = clock
        self._key: Callable[[Item], Any] = lambda item: 0
        self._reverse = False
        self._passes: Callable[[Item], bool] | None = None
        self._forest: Forest | None = None
        self._keys: Dict[Ident, Any] = {}
        self._seen: set[Ident] = set()
        self._dirty: Dict[Ident, None] = {}
        self._prefixes: Dict[Ident, str] = {}
        self._job: Iterator[None] | None = None
        self._unsorted = False
        self._not_before = 0.0
        self._recheck: Iterator[Ident] = iter(())
        self.reset()

    # --- what is wanted

    def reset(self) -> None:
        """Look at all rows again: they are other ones."""
        self._job = self._rebuild()
        self._dirty.clear()

    def touch(self, idents: Iterable[Ident]) -> None:
        """These rows are new, have changed or are gone."""
        self._dirty.update(dict.fromkeys(idents))

    def sort_by(self, key: Callable[[Item], Any], reverse: bool = False) -> None:
        """Sort by what ``key`` makes of a row; its results can be compared."""
        self._key, self._reverse = key, reverse
        self.reset()

    def filter_by(self, passes: Callable[[Item], bool] | None) -> None:
        """Show only rows for which ``passes`` is true; None: all."""
        self._passes = passes
        self.reset()

    def hang_by(self, forest: Forest | None) -> None:
        """Show a tree; None: a list.  Rows with the same parent are sorted."""
        self._forest = forest
        self.reset()

    @property
    def is_tree(self) -> bool:
        return self._forest is not None

    @property
    def passed(self) -> int:
        """How many rows the filter lets through."""
        return len(self._keys)

    @property
    def is_rebuilding(self) -> bool:
        """Whether what is shown is not yet what is wanted."""
        return self._job is not None

    @property
    def is_settled(self) -> bool:
        """Whether nothing is outstanding."""
        return self._job is None and not self._dirty and not self._unsorted

    def prefix(self, ident: Ident) -> str:
        """The lines of the tree before a row."""
        return self._prefixes.get(ident, "")

    def group(self, ident: Ident) -> Group | None:
        """The row of a tree that is no row of the table."""
        return None if self._forest is None else self._forest.group(ident)

    # --- doing it

    def work(self, budget: float) -> bool:
        """Do some of what is outstanding, for about ``budget`` seconds.

        :returns: whether the order has changed.
        """
        version = self.version
        deadline = self._clock() + budget
        if self._job is None and self._dirty:
            self._take_in(deadline)
        if self._job is None and self._passes is not None:
            self._check_again()
        if self._job is None and self._unsorted and self._clock() >= self._not_before:
            self._sort()
        if self._job is not None:
            self._go_on(deadline)
        return self.version != version

    def settle(self) -> None:
        """Do everything that is outstanding."""
        while not self.is_settled:
            self._not_before = 0.0
            self.work(1.0)

    def _go_on(self, deadline: float) -> None:
        assert self._job is not None
        for _ in self._job:
            if self._clock() >= deadline:
                return
        self._job = None

    def _holds(self, item: Item) -> bool:
        return self._passes is None or bool(self._passes(item))

    def _take_in(self, deadline: float) -> None:
        dirty, tree = self._dirty, self._forest is not None
        while dirty:
            for _ in range(min(CHUNK, len(dirty))):
                ident = next(iter(dirty))
                del dirty[ident]
                self._take(ident)
                self._unsorted = self._unsorted or tree
            if self._clock() >= deadline:
                return

    def _take(self, ident: Ident) -> None:
        item = self._get(ident)
        if item is None:
            if ident in self._seen:
                self._seen.discard(ident)
                self.total -= 1
        elif ident not in self._seen:
            self._seen.add(ident)
            self.total += 1
        if item is None or not self._holds(item):
            if self._keys.pop(ident, self) is not self:
                self._unsorted = True
            return
        key = self._key(item)
        if ident not in self._keys or self._keys[ident] != key:
            self._keys[ident] = key
            self._unsorted = True

    def _check_again(self) -> None:
        """Judges some rows that have not changed: time has passed."""
        for _ in range(max(RECHECKED, len(self._seen) // 64)):
            ident = next(self._recheck, None)
            if ident is None:
                self._recheck = iter(list(self._seen))
                return
            self._take(ident)

    def _sort(self) -> None:
        began = self._clock()
        self._unsorted = False
        if self._forest is not None:
            self._job = self._build_tree()
            return
        keys = self._keys
        order = [ident for ident in self.order if ident in keys]
        if len(order) != len(keys):
            there = set(order)
            order += [ident for ident in keys if ident not in there]
        order.sort(key=keys.__getitem__, reverse=self._reverse)
        self._show(order, {})
        now = self._clock()
        self._not_before = now + (now - began) / SORT_SHARE

    def _show(self, order: List[Ident], prefixes: Dict[Ident, str]) -> None:
        self.order = order
        self._prefixes = prefixes
        self.version += 1

    def _rebuild(self) -> Iterator[None]:
        keys: Dict[Ident, Any] = {}
        seen: set[Ident] = set()
        order: List[Ident] = []
        run: List[Ident] = []
        is_empty = not self.order and self._forest is None
        for n, ident in enumerate(list(self._idents()), 1):
            item = self._get(ident)
            if item is not None:
                seen.add(ident)
                if self._holds(item):
                    keys[ident] = self._key(item)
                    run.append(ident)
            if n % CHUNK == 0:
                if is_empty and len(run) >= PREVIEW:
                    is_empty = False
                    self._keys, self._seen = keys, seen
                    first = sorted(run, key=keys.__getitem__, reverse=self._reverse)
                    self._show(first, {})
                if self._seen is seen:
                    self.total = len(seen)
                if len(run) >= 16 * CHUNK:
                    # Runs that are sorted make the sort at the end a merge.
                    run.sort(key=keys.__getitem__, reverse=self._reverse)
                    order += run
                    run = []
                yield
        order += run
        self._keys, self._seen, self.total = keys, seen, len(seen)
        self._recheck = iter(())
        self._unsorted = False
        if self._forest is not None:
            yield from self._build_tree()
            return
        yield
        order.sort(key=keys.__getitem__, reverse=self._reverse)
        self._show(order, {})

    def _build_tree(self) -> Iterator[None]:
        assert self._forest is not None
        spent = 0.0
        began = self._clock()
        parent_of = self._forest.parent
        children: Dict[Ident, List[Ident]] = collections.defaultdict(list)
        roots: List[Ident] = []
        placed: set[Ident] = set()
        todo: List[Ident] = list(self._keys)
        for n, ident in enumerate(todo, 1):
            # What a row that is shown hangs on is shown, too.
            while ident not in placed:
                placed.add(ident)
                parent = parent_of(ident)
                if parent is None:
                    roots.append(ident)
                    break
                children[parent].append(ident)
                ident = parent
            if n % CHUNK == 0:
                spent += self._clock() - began
                yield
                began = self._clock()
        order: List[Ident] = []
        prefixes: Dict[Ident, str] = {}
        rank = self._rank
        left = len(placed)
        roots.sort(key=rank, reverse=self._reverse)
        # (ident, what precedes its children) of what is still to be put down.
        stack = [(ident, "", "") for ident in reversed(roots)]
        # What hangs on itself, circles, is reached by none of them: cut at some place.
        loose = (ident for ident in placed if ident not in prefixes)
        n = 0
        while stack:
            while stack:
                ident, prefix, below = stack.pop()
                if ident in prefixes:
                    continue
                order.append(ident)
                prefixes[ident] = prefix
                left -= 1
                under = children.get(ident)
                if under:
                    under.sort(key=rank, reverse=self._reverse)
                    last = under[-1]
                    stack += [
                        (
                            child,
                            below + ("└─" if child == last else "├─"),
                            below + ("  " if child == last else "│ "),
                        )
                        for child in reversed(under)
                    ]
                n += 1
                if n % CHUNK == 0:
                    spent += self._clock() - began
                    yield
                    began = self._clock()
            if left > 0:
                stack = [(ident, "↻ ", "  ") for ident in itertools.islice(loose, 1)]
        self._show(order, prefixes)
        now = self._clock()
        self._not_before = now + (spent + now - began) / SORT_SHARE

    def _rank(self, ident: Ident) -> Any:
        """Groups come before rows."""
        key = self._keys.get(ident, self)
        if key is not self:
            return (1, key)
        item = self._get(ident)
        if item is not None:
            return (1, self._key(item))
        return (0, str(ident))
