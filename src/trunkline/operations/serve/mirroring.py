"""Shadows: in a rollout's shadow the canary is asked what stable was asked, beside it, and nobody gets its answer.

A shadow begins once stable's answer has ended, so it can neither delay nor change it. It is a prediction of its own in
the log, which names the one that it is a shadow of.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import NamedTuple

from trunkline import assignment
from trunkline.clients import predictions
from trunkline.clients.predictions import Full, Log
from trunkline.operations.serve.dialects import Read
from trunkline.operations.serve.exchange import Asker, Exchange
from trunkline.operations.serve.metrics import Metrics
from trunkline.operations.serve.refusals import Refused, from_failure
from trunkline.operations.serve.routing import Assigned, Routing
from trunkline.records.serving import Failure

# While so much of the spool is in use, its room is for what is served.
_SPOOL_SHARE = 0.5

_logger = logging.getLogger(__name__)


class Served(NamedTuple):
    """A request that was answered.

    Attributes:
        prediction: the answer's.
        asker: whose it is.
        assigned: who answered.
        read: reads the body.
        body: the request's.
    """

    prediction: str
    asker: Asker
    assigned: Assigned
    read: Read
    body: Mapping[str, object]


def chosen(salt: str, prediction: str, share: float) -> bool:
    """Whether a request is mirrored: by a hash of the rollout's salt that says nothing about who is on which arm."""
    return assignment.position(f"{salt}/shadow", prediction) < share


class Mirrors:
    """All shadows of a gateway that are in flight; used on one event loop.

    Args:
        routing: says whether there is a shadow, and what the canary is.
        log: takes them.
        metrics: counts them, apart from what was served.
        at_most: so many may be in flight, whatever the rollout allows: an engine is given no more at once.
    """

    def __init__(self, routing: Routing, log: Log, metrics: Metrics, at_most: int) -> None:
        self._routing, self._log, self._metrics, self._at_most = routing, log, metrics, at_most
        self._running: set[asyncio.Task[None]] = set()
        self._ended = False

    def offer(self, served: Served) -> None:
        """Mirror a request that stable has answered, where the rollout is in its shadow and chooses it.

        Returns at once. What comes while too many are in flight is dropped, and counted.
        """
        traffic, backend = self._routing.traffic, self._routing.arms.get("canary")
        if traffic.shadow is None or traffic.salt is None or backend is None or self._ended:
            return
        if served.assigned.arm != "stable" or served.assigned.rollout != traffic.rollout:
            return
        if not chosen(traffic.salt, served.prediction, traffic.shadow.share):
            return
        spool = self._log.status
        full = len(self._running) >= min(traffic.shadow.at_once, self._at_most)
        if full or spool.used > spool.capacity * _SPOOL_SHARE:
            self._metrics.mirror(backend.release.name, "dropped")
            return
        canary = Assigned("canary", 0.0, traffic.rollout, traffic.environment, backend)
        task = asyncio.create_task(self._answer(served, canary))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Mirror nothing more, and give up what is in flight."""
        self._ended = True
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _answer(self, served: Served, canary: Assigned) -> None:
        name, prediction = canary.backend.release.name, predictions.new_id()
        try:
            question = served.read(served.body, canary.backend.release, prediction)
            # What it counts is of what was served: nobody looks at these.
            exchange = Exchange(self._log, Metrics(), canary, question.message, time.perf_counter())
            unit = served.asker.unit or served.prediction
            exchange.assign(prediction, served.asker._replace(unit=unit), shadow_of=served.prediction)
        except (Failure, Full):
            self._metrics.mirror(name, "dropped")
            return
        status, error = 200, None
        try:
            await exchange.complete(question.request)
        except (Failure, Refused) as problem:
            refused = problem if isinstance(problem, Refused) else from_failure(problem)
            status, error = refused.status, refused.error
            if isinstance(problem, Failure):
                exchange.doubt(problem)
        except asyncio.CancelledError:
            status, error = 503, "shutdown"
            raise
        except Exception:  # ours; nobody waits for this answer, so it is told here
            status, error = 500, "internal"
            _logger.exception("serve  the shadow of %s", served.prediction)
        finally:
            exchange.end(status, error, streamed=False)
            self._metrics.mirror(name, "answered" if error is None else "failed")
