"""Progress bars: on a terminal, unless a caller wants none."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

_wanted = ContextVar("progress", default=True)


@contextmanager
def show_progress(wanted: bool) -> Iterator[None]:
    """Within this block, bars are shown on a terminal, or nowhere; what an outer block hides stays hidden.

    Example:
        >>> with show_progress(False):
        ...     list(track([1, 2], unit="image"))
        [1, 2]
    """
    token = _wanted.set(bool(wanted) and _wanted.get())
    try:
        yield
    finally:
        _wanted.reset(token)


def track(items: Iterable | None = None, *, unit: str, total: int | None = None, **looks: Any) -> "tqdm":
    """Gives what passes items on and shows on stderr, if that is a terminal, how many have passed.

    Args:
        items: to pass on; None: `update` of what is given counts.
        unit: what an item is, in the singular.
        total: how many there are; None: as many as `len` says.
        looks: `desc` and `initial` of tqdm.
    """
    from tqdm import tqdm

    # None: hidden where stderr is no terminal
    return tqdm(items, unit=unit, total=total, disable=None if _wanted.get() else True, **looks)
