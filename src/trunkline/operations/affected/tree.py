"""Looks for a customer in the working tree's raw data, which the next release would be trained on."""

from pathlib import Path

from trunkline.errors import Error
from trunkline.operations.affected.search import Searched, Seen, naming, partitions
from trunkline.params import Params

HERE = "working tree"


def working_tree(params: Params, customer: str) -> Searched:
    """What the partitions of ``data.folder`` hold, and which of them are not here."""
    columns = naming(params.data.columns.model_dump())
    folder = Path(params.data.folder)
    if columns is None:
        return Searched(HERE, {}, "data.columns names neither customer, conversation nor id")
    try:
        found = {str(folder / name): seen for name, seen in partitions(folder, *columns, customer).items()}
    except Error as error:
        return Searched(HERE, {}, error.problem)
    # A partition under DVC that was not pulled is only a pointer here.
    absent = [path.with_suffix("") for path in folder.glob("*.dvc") if not path.with_suffix("").exists()]
    return Searched(HERE, found | {str(path): Seen(0, None, "it is not here: `dvc pull` it") for path in absent})
