"""Resolving the registry from Git tags, beside `gto show` of the same repository.

    python benchmarks/registry.py [--gto 400 1000] [--ours 10000]

Real repositories: of ten tags one registers a version on a commit of its own and nine assign it to one of three
environments, each with a message as long as a decision's. Wall seconds of a whole process each time, the best of
three for Trunkline; the last column is the resolution alone, without starting Python. Prints a Markdown table.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OURS = """
import time
from trunkline import registry
from trunkline.clients.git import tags
start = time.perf_counter()
state = registry.of(tags.everything(), "m")
print(time.perf_counter() - start, *(f"{name}={one.version}" for name, one in sorted(state.environments.items())))
"""
MESSAGE = "m serves\n\n" + "{" + '"reason": "' + "x" * 400 + '"}\n'


def build(folder: Path, count: int) -> None:
    """A repository with ``count`` registry tags, written by `git fast-import`."""
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    stream, number = [], 0
    for made in range(count):
        version, turn = divmod(made, 10)
        when = f"a <a@example.com> {1_700_000_000 + made} +0000"
        if turn == 0:
            stream.append(f"commit refs/heads/main\nmark :{version + 1}\ncommitter {when}\ndata 1\nx\n")
            name = f"m@v1.{version}.0"
        else:
            number += 1
            name = f"m#{('canary', 'staging', 'production')[turn % 3]}#{number}"
        stream.append(f"tag {name}\nfrom :{version + 1}\ntagger {when}\ndata {len(MESSAGE)}\n{MESSAGE}\n")
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input="".join(stream).encode(), check=True)
    subprocess.run(["git", "pack-refs", "--all"], cwd=folder, check=True)


def timed(folder: Path, *command: str) -> tuple[float, str]:
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, done.stdout


def ours(folder: Path) -> tuple[float, float, str]:
    """Wall seconds, seconds of the resolution alone, and what the environments serve."""
    wall, said = min(timed(folder, sys.executable, "-c", OURS) for _ in range(3))
    alone, *served = said.split()
    return wall, float(alone), " ".join(served)


def theirs(folder: Path, served: str) -> float:
    """Wall seconds of `gto show`, which must say the same."""
    wall, said = timed(folder, str(Path(sys.executable).parent / "gto"), "show", "--json")
    for pair in served.split():
        assert f'"{pair.partition("=")[2]}"' in said, (pair, said)
    return wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gto", type=int, nargs="*", default=[400, 1000], help="numbers of tags that both resolve")
    parser.add_argument("--ours", type=int, nargs="*", default=[10000], help="numbers of tags without GTO")
    arguments = parser.parse_args()
    print("| tags | gto show | Trunkline | times | resolution alone |\n|---|---|---|---|---|")
    for count in [*arguments.gto, *arguments.ours]:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            build(folder, count)
            wall, alone, served = ours(folder)
            shown = ["not run", ""]
            if count in arguments.gto:
                gto = theirs(folder, served)
                shown = [f"{gto:.1f} s", f"{gto / wall:.0f}"]
            print(f"| {count:,} | {shown[0]} | {wall:.2f} s | {shown[1]} | {alone:.3f} s |", flush=True)


if __name__ == "__main__":
    main()
