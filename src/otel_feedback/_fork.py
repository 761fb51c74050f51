"""What a forked child has to make anew: locks that nobody will let go of, threads and connections it doesn't have."""

import os
import weakref
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def renew_in_child(owner: T, renew: Callable[[T], None]) -> None:
    """Call ``renew(owner)`` in every child that is forked while the owner is alive.

    Such a registration can't be undone, so it keeps nothing alive; ``renew`` must not refer to the owner either.
    """
    if not hasattr(os, "register_at_fork"):
        return
    reference = weakref.ref(owner)

    def after_fork() -> None:
        alive = reference()
        if alive is not None:
            renew(alive)

    os.register_at_fork(after_in_child=after_fork)
