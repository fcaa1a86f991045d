"""Checks of what goes into a model and of what comes out, while it serves.

A user adds one with the decorator, in the module that params.yaml names::

    @guard("no_links", 1, on="output")
    def no_links(exchange: Exchange) -> str | None:
        return "a link" if "://" in exchange.output else None
"""

from trunkline.guard import checks
from trunkline.guard.decision import (
    Decision,
    Exchange,
    Finding,
    blocks_output,
    decide,
    guard,
    guard_id,
    identify,
    named,
    released,
)

__all__ = [
    "Decision",
    "Exchange",
    "Finding",
    "blocks_output",
    "checks",
    "decide",
    "guard",
    "guard_id",
    "identify",
    "named",
    "released",
]
