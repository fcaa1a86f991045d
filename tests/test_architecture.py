"""The structure that design and README promise: who imports whom, names, budgets, dvc.yaml's deps."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from trunkline import cli

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "trunkline"
VOCABULARY = {"errors", "params", "records", "verdict"}
MAY_IMPORT = {
    "vocabulary": {"vocabulary"},
    "knowledge": {"vocabulary", "knowledge"},
    "clients": {"vocabulary", "clients"},
    "stages": {"vocabulary", "knowledge", "clients"},
    "operations": {"vocabulary", "knowledge", "clients"},
    "cli": {"vocabulary", "clients"},
}
# They take half a second to two: imported only by the functions that cannot do without them.
HEAVY = ("scipy.stats", "sklearn")
TORCH_ONLY_IN = ("clients", "stages")
MAX_FILE_LINES = 250
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 6

SOURCES = sorted(path for path in PACKAGE.rglob("*.py"))
MODULES = [path for path in SOURCES if path.name != "__main__.py"]


def name_of(path: Path) -> str:
    """`stages.train.loss` for src/trunkline/stages/train/loss.py, `stages.train` for its __init__."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def kind_of(module: str) -> str:
    first = module.split(".")[0]
    if first in ("clients", "stages", "operations", "cli"):
        return first
    return "vocabulary" if first in VOCABULARY or first == "__init__" else "knowledge"


def step_of(module: str) -> str:
    """What must not import its siblings: the stage or operation that a module belongs to, or its package."""
    return ".".join(module.split(".")[: 2 if kind_of(module) in ("clients", "stages", "operations") else 1])


@cache
def imports_of(path: Path) -> frozenset[str]:
    """The trunkline modules a file imports anywhere in it, functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    known = {name_of(module) for module in MODULES}
    short = {name.removeprefix("trunkline.") for name in found if name.startswith("trunkline.")}
    return frozenset((short & known) - {"__init__"})


@cache
def third_party_of(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return frozenset(name.split(".")[0] for name in names)


def functions_of(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_its_kind_may(path):
    module = name_of(path)
    kind = kind_of(module)
    for imported in imports_of(path):
        if step_of(imported) == step_of(module):
            continue
        assert kind_of(imported) in MAY_IMPORT[kind], f"{module} ({kind}) imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_knowledge_and_vocabulary_do_not_touch_torch_or_processes(path):
    if kind_of(name_of(path)) in ("vocabulary", "knowledge"):
        outside = third_party_of(path) & {"torch", "transformers", "peft", "subprocess", "socket", "requests", "time"}
        assert not outside, f"{name_of(path)} imports {outside}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_is_slow_to_import_is_imported_only_where_it_is_used(path):
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            found |= {f"{module}.{alias.name}" if module else alias.name for alias in node.names}
    assert not [name for name in found if f"{name}.".startswith(tuple(f"{one}." for one in HEAVY))]


def test_help_loads_neither_torch_nor_anything_else_that_an_interrupt_could_meet_outside_main():
    slow = "{'torch', 'polars', 'pydantic', 'yaml'}"
    code = f"import sys; from trunkline import cli; cli._parser().format_help(); print({slow} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_there_is_no_import_cycle():
    graph = {name_of(path): imports_of(path) for path in MODULES}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"cycle: {' -> '.join((*above, module))}"
        if module not in done:
            for imported in graph[module]:
                # A package is loaded before its members; a member naming its package is no cycle of ours.
                if imported != module and not module.startswith(f"{imported}."):
                    visit(imported, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def stage_files(stage: str) -> list[Path]:
    folder = PACKAGE / "stages" / stage
    return sorted(folder.glob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def knowledge_closure(stage: str) -> set[Path]:
    """A stage's own files and every knowledge module that they import, directly or not."""
    by_name = {name_of(path): path for path in MODULES}
    found = set(stage_files(stage))
    todo = list(found)
    while todo:
        for imported in imports_of(todo.pop()):
            path = by_name[imported]
            if kind_of(imported) == "knowledge" and path not in found:
                found.add(path)
                todo.append(path)
    return found


@pytest.mark.parametrize("stage", cli.STAGES)
def test_dvc_deps_are_the_import_closure(stage):
    """Otherwise an edited scorer leaves a stale result that DVC calls up to date."""
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    sources = {dep for dep in pipeline[stage]["deps"] if str(dep).startswith("src/trunkline/")}
    assert sources == {str(path.relative_to(ROOT)) for path in knowledge_closure(stage)}


@pytest.mark.parametrize("stage", cli.STAGES)
def test_a_stage_has_one_name_in_seven_places(stage):
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert pipeline[stage]["cmd"] == f"exec trunkline {stage}"
    assert any(f"reports/{stage}.json" in metric for metric in pipeline[stage]["metrics"])
    assert stage in yaml.safe_load((ROOT / "params.yaml").read_text())
    assert all(path.is_file() for path in stage_files(stage))
    assert (ROOT / "tests" / f"test_{stage}.py").is_file()
    assert re.search(rf"^#+ .*`?{stage}`?", (ROOT / "README.md").read_text(), re.MULTILINE | re.IGNORECASE)


def test_the_pipeline_has_exactly_the_commands_stages_in_their_order():
    assert list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]) == list(cli.STAGES)


@pytest.mark.parametrize("operation", cli.OPERATIONS)
def test_an_operation_has_a_module_and_a_test(operation):
    module = PACKAGE / "operations" / operation
    assert module.with_suffix(".py").is_file() or (module / "__init__.py").is_file()
    assert (ROOT / "tests" / f"test_{operation}.py").is_file()


def test_every_module_has_a_test_file():
    """A package is tested as one; the files of a kind without behaviour of their own need none."""
    tested = {path.stem.removeprefix("test_").removeprefix("clients_") for path in (ROOT / "tests").glob("test_*.py")}
    modules = {step_of(name_of(path)).split(".")[-1] for path in MODULES}
    exempt = {"__init__", "clients", "stages", "operations"}
    assert not modules - exempt - tested


def test_the_readme_shows_the_real_help():
    help_text = cli._parser().format_help().strip()
    assert help_text in (ROOT / "README.md").read_text(), "paste `trunkline --help` into README.md"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_stay_within_their_budgets(path):
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_FILE_LINES, f"{path.name} has {lines} lines"
    for function in functions_of(path):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= MAX_FUNCTION_LINES, f"{path.name}: {function.name} has {length} lines"
        parameters = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        names = [parameter.arg for parameter in parameters if parameter.arg not in ("self", "cls")]
        assert len(names) <= MAX_PARAMETERS, f"{path.name}: {function.name} takes {len(names)} parameters"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_everything_public_is_annotated_and_documented(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{path} has no docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [argument for argument in node.args.args if argument.arg not in ("self", "cls")]
            assert node.returns is not None, f"{path.name}: {node.name} has no return annotation"
            assert all(argument.annotation for argument in arguments), f"{path.name}: {node.name} is not annotated"
    for node in tree.body:
        public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        assert not public or ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"


def test_the_project_speaks_only_of_itself():
    """No local path, host of a package index or the like in what is tracked."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    words = re.compile("/" + "work/|/" + "root/|pypi" + r"\.org|files\.pythonhosted")
    for name in done.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and path.suffix in {".py", ".md", ".yaml", ".toml", ".lock", ".j2", ".txt", ".json", ""}:
            assert not words.search(path.read_text(errors="replace")), name
