"""The registry: Git tags are events, and what they say together is the state.

The grammar is that of GTO 1.x, so GTO reads our tags: ``<model>@v1.2.3`` registers a version,
``<model>@v1.2.3!`` withdraws it, ``<model>@deprecated`` retires the model, ``<model>#<environment>#<N>``
assigns a version to an environment and ``<model>#<environment>!#<N>`` empties the environment. N is one counter
for all environments of a model. The counter decides what came last, never a clock: two machines' clocks differ.
"""

from trunkline.registry.compared import UNTUNED, admitted, outdated
from trunkline.registry.fallback import fallbacks
from trunkline.registry.grammar import (
    Assignment,
    Deprecation,
    Event,
    Registration,
    is_name,
    name,
    parse,
    release,
)
from trunkline.registry.history import FORGED, Entry, history
from trunkline.registry.pins import Pin, pinnable, serving
from trunkline.registry.rules import (
    PRODUCTION,
    branch,
    decision_of,
    path,
    pinned_by,
    promote,
    rollback,
    rollout_path,
    standing,
    told,
)
from trunkline.registry.state import EMPTY, Assigned, Model, fold, of
from trunkline.registry.versions import PARTS, Part, Version, is_version

__all__ = [
    "EMPTY",
    "FORGED",
    "PARTS",
    "PRODUCTION",
    "UNTUNED",
    "Assigned",
    "Assignment",
    "Deprecation",
    "Entry",
    "Event",
    "Model",
    "Part",
    "Pin",
    "Registration",
    "Version",
    "admitted",
    "branch",
    "decision_of",
    "fallbacks",
    "fold",
    "history",
    "is_name",
    "is_version",
    "name",
    "of",
    "outdated",
    "parse",
    "path",
    "pinnable",
    "pinned_by",
    "promote",
    "release",
    "rollback",
    "rollout_path",
    "serving",
    "standing",
    "told",
]
