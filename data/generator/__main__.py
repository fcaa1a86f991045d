"""``python -m data.generator [FOLDER]`` writes the partitions, by default into data/raw."""

import json
import sys
from pathlib import Path

from data.generator.generate import write

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "raw"
    print(json.dumps(write(folder), indent=1))
