"""Watch what serves: windows of the prediction log beside the release's own training data and holdout."""

from datetime import UTC, datetime
from pathlib import Path

from trunkline import moments
from trunkline.clients import files, project
from trunkline.operations.monitor import asked, beginning, looking, page, served, sheet, shown
from trunkline.params import Params
from trunkline.verdict import Verdict

RECORD, TEXT, PAGE, FIGURE = (Path(f"reports/monitor.{kind}") for kind in ("json", "md", "html", "svg"))


def run(params: Params, until: str | None = None) -> tuple[str, Verdict]:
    """Write ``reports/monitor.json``, ``.md``, ``.html`` and, with alarms that have a figure, ``.svg``.

    Args:
        until: the moment up to which is looked (ISO 8601, UTC where no zone is given); None is now.

    Returns:
        The summary, and the verdict: fail with any alarm, pass where enough was measured.

    Raises:
        Error: nothing serves, the prediction log is not there or does not answer, or a file cannot be written.
    """
    moment = datetime.now(UTC) if until is None else moments.parse(until)
    project.load(params.project.module)
    release = served.find(params.project.name, params.monitor.environment, moment)
    looked = looking.look(params, release, moment)
    if until is None:
        name = (release.name, params.monitor.environment)
        beginning.keep(params.serve.log, name, looked.start, looked.watched)
        looked = asked.add(looked, params, moment)
    context = shown.build(looked, params)
    files.write_text(TEXT, shown.markdown(context))
    groups = page.groups(looked, params)
    files.write_text(PAGE, page.render(context, looked, groups))
    image = sheet.draw(groups)
    if image is None:
        files.remove(FIGURE)
    else:
        files.write_text(FIGURE, image)
    # Last, as it is what others go by.
    files.write_text(RECORD, looked.found.text())
    return shown.summary(context, (PAGE, TEXT)), looked.found.verdict
