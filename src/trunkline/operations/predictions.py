"""Look into the prediction log, take predictions out of it, and delete what must not be kept."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from trunkline import moments
from trunkline.clients import files, predictions
from trunkline.errors import Error
from trunkline.params import LogParams, Params
from trunkline.records.prediction import Selection


def run(params: Params, action: str, id: str | None, since: str | None, until: str | None, out: str | None) -> str:
    """Do one of four things with the prediction log.

    Args:
        action: ``show``, ``export``, ``erase`` or ``prune``.
        id: of the prediction to show, or of the customer to erase.
        since: export only predictions from this day or moment on (ISO 8601, UTC where no zone is given).
        until: export only predictions before it.
        out: the Parquet file to export to.

    Raises:
        Error: an argument is missing or wrong, the prediction is unknown, or the database does not answer.
    """
    log = params.serve.log
    wanted = {"show": ("PREDICTION", id), "erase": ("CUSTOMER", id), "export": ("--out FILE", out)}.get(action)
    if wanted is not None and not wanted[1]:
        raise Error(f"{action} of what?", f"trunkline predictions {action} {wanted[0]}")
    given = {"id": id, "--since": since, "--until": until, "--out": out}
    takes = {"show": ("id",), "erase": ("id",), "export": ("--since", "--until", "--out")}.get(action, ())
    extra = [name for name, value in given.items() if value is not None and name not in takes]
    if extra:
        raise Error(f"{action} takes no {' and no '.join(extra)}", "trunkline predictions --help")
    match action:
        case "show":
            return _show(log, str(id))
        case "export":
            return _export(log, Selection(since=_moment(since), until=_moment(until)), Path(str(out)))
        case "erase":
            return _erase(log, str(id))
        case _:
            return _prune(log)


def _show(log: LogParams, prediction: str) -> str:
    found = predictions.find(log, prediction)
    if found is None:
        hint = "check the id; a prediction of this moment may still wait in its gateway's spool"
        raise Error(f"the prediction log has no prediction {prediction}", hint)
    text = json.dumps(found.model_dump(mode="json"), indent=2, ensure_ascii=False)
    # What customers and models write must not steer the terminal.
    return "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text)


def _export(log: LogParams, selection: Selection, out: Path) -> str:
    with predictions.reading(log) as database:
        frame, said = database.texts(selection), database.feedback(selection)
    words = pl.struct("time", "source", "label", "score", "comment").alias("feedback")
    said = said.group_by("prediction", maintain_order=True).agg(words)
    files.write_table(out, frame.join(said, on="prediction", how="left", maintain_order="left"))
    return f"{frame.height:,} predictions written to {out}"


def _erase(log: LogParams, customer: str) -> str:
    logged = predictions.Kept(log).text("customer", customer)
    if logged is None:
        raise Error("serve.log.customer is none: no prediction is known by its customer", "nothing can be erased")
    with predictions.reading(log) as database:
        predictions.recover(log, database)
        count = database.erase(logged, predictions.moment(datetime.now(UTC)))
    lines = [
        f"customer, input, output and comments erased in {count:,} predictions",
        "what still waits in a gateway's spool is erased when it arrives",
    ]
    aside = Path(log.spool) / predictions.REJECTED
    if aside.exists():
        lines.append(f"{aside} holds records that the database refused: look through it yourself")
    return "\n".join(lines)


def _prune(log: LogParams) -> str:
    if log.keep_days is None:
        return "serve.log.keep_days is null: predictions are kept for ever"
    with predictions.reading(log) as database:
        count = database.prune(predictions.oldest(log.keep_days))
    return f"{count:,} predictions older than {log.keep_days} days deleted"


def _moment(text: str | None) -> datetime | None:
    return None if text is None else moments.parse(text)
