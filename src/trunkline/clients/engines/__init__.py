"""Engines: whatever answers requests, behind one protocol.

``openai`` is any server with OpenAI's API: vLLM, SGLang, hosted providers. ``tgi`` is Text Generation
Inference by its native routes. ``embedded`` is `trunkline engine`, which speaks OpenAI's API and tells the
digest of its weights. A server that is slow, broken or gone gives one `Failure`, and nothing else.
"""

from trunkline.clients.engines.embedded import Embedded
from trunkline.clients.engines.openai import OpenAI
from trunkline.clients.engines.probe import Probed, probe, record
from trunkline.clients.engines.protocol import Engine
from trunkline.clients.engines.tgi import TGI
from trunkline.params.serve import EngineParams, TimeoutParams

__all__ = ["Engine", "Probed", "connect", "probe", "record"]

_KINDS = {"embedded": Embedded, "openai": OpenAI, "tgi": TGI}


def connect(settings: EngineParams, timeouts: TimeoutParams) -> Engine:
    """The engine that params.yaml names; nothing is sent before the first request.

    Raises:
        Error: the environment variable of its key is not set.
    """
    return _KINDS[settings.kind](settings, timeouts)
