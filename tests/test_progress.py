"""Progress: plain lines where there is no terminal."""

from trunkline.clients import progress as module
from trunkline.clients.progress import Progress


def test_plain_lines_say_how_far_and_how_fast(capsys, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS", 3600.0)
    progress = Progress("train", 10, "steps")
    progress.update(1, "loss 1.2")
    for done in range(2, 10):
        progress.update(done)
    progress.update(10, "loss 0.4")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("train 1/10 steps")
    assert "loss 1.2" in lines[0]
    assert lines[-1].startswith("train 10/10 steps")
    assert len(lines) == 2, "at most a line every few seconds"
    assert all("\r" not in line for line in lines)
