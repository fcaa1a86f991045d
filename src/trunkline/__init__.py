"""Trunkline: a Git repository as the control plane for fine-tuned LLMs.

Five kinds of code, each allowed to import only what stands above it:

- vocabulary: ``errors params verdict records``, the words everything shares;
- knowledge: pure functions, no network, clock, Git, subprocess or torch;
- ``clients``: the only code that touches the outside, without decisions;
- ``stages``: functions of files that DVC may skip when nothing changed;
- ``operations``: steps that change or watch the world, never skipped.

``cli`` alone parses arguments, prints results and exits.
"""

__version__ = "0.1.0"
