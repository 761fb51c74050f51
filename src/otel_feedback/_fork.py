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


def rest_while_forking(owner: T, rest: Callable[[T], None], go_on: Callable[[T], None]) -> None:
    """Call ``rest(owner)`` before every fork, and ``go_on(owner)`` after it in the parent.

    For what a child can't make anew, such as what a library knows of its open files. As above, nothing is kept alive.
    """
    if not hasattr(os, "register_at_fork"):
        return
    reference = weakref.ref(owner)

    def call(function: Callable[[T], None]) -> Callable[[], None]:
        def hook() -> None:
            alive = reference()
            if alive is not None:
                function(alive)

        return hook

    os.register_at_fork(before=call(rest), after_in_parent=call(go_on))
