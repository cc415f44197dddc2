"""Values said in other words than as they are."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Saying:
    """Words that a value can be worked out from.

    Attributes:
        text: the words, as they stand in a query in the place of the value.
        resolution: how they give the value; it ends in ``= VALUE``.
        today: the date that the query has to give as that of today, empty if the words do not depend on it.
        tool: the tool whose responses tell it, empty if it does not stand in any.
    """

    text: str
    resolution: str
    today: str = ""
    tool: str = ""
