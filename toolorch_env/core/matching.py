"""Rules of matching on sets of reference calls, each a bit mask: step k is bit k.

Plain functions of integers, so that both environments and the vector environment, which compiles them, share them.
"""


def first_step(steps: int) -> int:
    """The lowest step of a set that is not empty."""
    step = 0
    while not steps >> step & 1:
        step += 1
    return step


def choose_step(open_steps: int, in_order: int, optional: int) -> int:
    """Which of several equal steps a call completes.

    One whose turn it is, if there is one, and rather one that counts; else rather one that does not count.

    Args:
        open_steps: steps that the call is equivalent to and that are not complete; not empty.
        in_order: those of them whose turn it is.
        optional: optional steps, which do not count.
    """
    if in_order:
        counting = in_order & ~optional
        return first_step(counting if counting else in_order)
    spare = open_steps & optional
    return first_step(spare if spare else open_steps)
