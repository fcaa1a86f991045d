"""An engine's double in a process of its own, which can be killed: `python moody.py BUNDLE PORT`.

Each line of its input says how it behaves from now on, as a value of `gateways.Engine.fails` in JSON.
"""

import json
import sys
from pathlib import Path

import gateways
import served


def main() -> None:
    engine = gateways.Engine(Path(sys.argv[1]))
    engine.says, engine.slow_s = ["a"] * 5, 0.1
    with served.answering(engine, int(sys.argv[2])) as url:
        print(url, flush=True)
        for line in sys.stdin:
            engine.fails = json.loads(line)


if __name__ == "__main__":
    main()
