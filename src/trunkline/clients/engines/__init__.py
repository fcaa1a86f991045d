"""Engines: whatever answers requests, behind one protocol.

``openai`` is any server with OpenAI's API: vLLM, SGLang, hosted providers. ``tgi`` is Text Generation
Inference by its native routes. ``embedded`` is `trunkline engine`, which speaks OpenAI's API and tells the
digest of its weights. A server that is slow, broken or gone gives one `Failure`, and nothing else.
"""

from trunkline.clients.engines.probe import Probed, probe, record
from trunkline.clients.engines.protocol import Engine
from trunkline.params.serve import EngineParams, TimeoutParams

__all__ = ["Engine", "Probed", "connect", "probe", "record"]


def connect(settings: EngineParams, timeouts: TimeoutParams, proxied: bool = False) -> Engine:
    """The engine that params.yaml names; nothing is sent before the first request.

    Args:
        settings: what it is, and where.
        timeouts: how long it may take.
        proxied: whether the environment's proxy is on the way, as to a provider on the internet.

    Raises:
        Error: the environment variable of its key is not set, or names a proxy that is none.
    """
    # Only here: HTTP takes a fifth of a second that a stage with weights of its own need not pay.
    from trunkline.clients.engines.embedded import Embedded
    from trunkline.clients.engines.openai import OpenAI
    from trunkline.clients.engines.tgi import TGI

    kinds = {"embedded": Embedded, "openai": OpenAI, "tgi": TGI}
    return kinds[settings.kind](settings, timeouts, proxied)
