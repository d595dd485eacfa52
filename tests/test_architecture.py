import ast
import dataclasses
import importlib
import inspect
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from twostage import _HOME
from twostage.options import run as config

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "twostage"
FILES = sorted(PACKAGE.rglob("*.py"))

# from what knows nothing to what knows everything; the parts of one row do not know each other
ROWS = (
    ("errors",),
    ("files", "hub", "scale", "terminal"),
    ("bins",),
    ("options",),
    ("evaluation",),
    ("report",),
    ("decoding",),
    ("tables",),
    ("data",),
    ("backbones",),
    ("stages",),
    ("training",),
    ("trust",),
    ("page",),
    ("model_folder",),
    ("starts",),
    ("predictor",),
    ("tracking",),
    ("run",),
    ("orchestrator", "engines"),
    ("studies", "export"),
    ("estimator", "serve"),
    ("cli",),
    ("__main__",),
)
ROW = {part: i for i, row in enumerate(ROWS) for part in row}


def name_of(file):
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def part_of(module):
    return [*module.split("."), ""][1]


def home_of(name):
    """The part that `from twostage import name` reaches; "" for what lies in twostage/__init__.py itself."""
    return part_of(_HOME[name]) if name in _HOME else name if name in ROW else ""


def imported_parts(tree, module, is_package):
    """(line, part) of each import of this package, wherever in the file it stands."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [part_of(alias.name) for alias in node.names if alias.name.split(".")[0] == "twostage"]
        elif isinstance(node, ast.ImportFrom):
            prefix = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*prefix, *([node.module] if node.module else [])])
            if source.split(".")[0] != "twostage":
                continue
            found = [home_of(a.name) for a in node.names] if source == "twostage" else [part_of(source)]
        else:
            continue
        yield from ((node.lineno, part) for part in found if part)


def violations(source, module, is_package=False):
    own = part_of(module)
    return [
        f"{module}:{line} imports {part}"
        for line, part in imported_parts(ast.parse(source), module, is_package)
        if part != own and ROW[part] >= ROW[own]
    ]


def test_every_part_has_its_row():
    parts = {part_of(name_of(file)) for file in FILES} - {""}
    assert parts == set(ROW), f"not in the table of layers, or gone: {sorted(parts ^ set(ROW))}"


@pytest.mark.parametrize("file", [f for f in FILES if f != PACKAGE / "__init__.py"], ids=name_of)
def test_a_module_imports_only_from_above(file):
    assert violations(file.read_text(), name_of(file), file.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("twostage.errors", "import twostage.options.run"),
        ("twostage.bins", "from twostage.data.color import channels"),
        ("twostage.data.store", "def f():\n    from twostage.stages import build"),
        ("twostage.data.store", "from ..backbones import build_backbone"),
        ("twostage.stages.build", "from twostage import Predictor"),
        ("twostage.stages.build", "from .. import cli"),
        ("twostage.run.folder", "if TYPE_CHECKING:\n    from twostage import train"),
    ],
)
def test_the_layer_test_sees_wrong_imports(module, source):
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("twostage.data.store", "from .color import channels"),
        ("twostage.cli", "from twostage import __version__, orchestrator"),
        ("twostage.training.fit", "from twostage.stages.two_stage import to_srgb\nimport torch"),
    ],
)
def test_the_layer_test_lets_right_imports_pass(module, source):
    assert violations(source, module) == []


def defines_something(tree):
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Assign, ast.AnnAssign)
    return any(isinstance(node, kinds) for node in tree.body)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_name_in_all_resolves(file):
    tree = ast.parse(file.read_text())
    module = importlib.import_module(name_of(file))
    assert module.__doc__, f"{name_of(file)} has no docstring"
    if not defines_something(tree):  # nothing to list: __main__ and the __init__.py that only describe their folder
        return
    assert module.__all__, f"{name_of(file)} has no __all__"
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, f"{name_of(file)}.{name} has no docstring"


TESTS = sorted(set((ROOT / "tests").rglob("*.py")) - set((ROOT / "tests" / "benchmarks").rglob("*.py")))


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


def test_no_test_module_is_imported_by_another():
    modules = {file.stem for file in TESTS if file.stem.startswith("test_")} | {"conftest"}
    found = {file.name: set(".".join(imported(ast.parse(file.read_text()))).split(".")) & modules for file in TESTS}
    assert {name: names for name, names in found.items() if names} == {}


def test_the_folders_of_the_tests_are_those_of_the_package():
    folders = {file.parent.relative_to(ROOT / "tests") for file in TESTS}
    assert {folder for folder in folders if not (PACKAGE / folder).is_dir()} == set()


def undocumented(body, prefix):
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield f"{prefix}.{node.name} (line {node.lineno})"
            if isinstance(node, ast.ClassDef):
                yield from undocumented(node.body, f"{prefix}.{node.name}")


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_everything_public_has_a_docstring(file):
    assert list(undocumented(ast.parse(file.read_text()).body, name_of(file))) == []


def options_of(kind):
    """All but the nested components, which have options of their own."""
    return [f for f in dataclasses.fields(kind) if not dataclasses.is_dataclass(f.default_factory)]


@pytest.mark.parametrize("kind", [getattr(config, name) for name in config.__all__ if name.endswith("Config")])
def test_every_option_has_a_meaning(kind):
    # data and backbone are components, chosen by name; kind and name say which one it is
    unnamed = {"kind", "name", "data", "backbone"}
    assert [f.name for f in options_of(kind) if not f.metadata.get("meaning") and f.name not in unnamed] == []


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_is_at_most_300_lines(file):
    assert len(file.read_text().splitlines()) <= 300


def python(code, *options):
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done


def test_importing_is_quick_and_loads_no_torch():
    seconds = python(
        "import time; begin = time.perf_counter(); import twostage; print(time.perf_counter() - begin)\n"
        "import sys; assert not {'torch', 'numpy', 'hydra'} & set(sys.modules)"
    )
    assert float(seconds.stdout) < 1


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["predict", "-h"], ["--version"]])
def test_help_loads_no_torch(arguments):
    done = python(
        "import sys\nfrom twostage.cli import main\n"
        f"try:\n    main({arguments})\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert 'twostage.cli' in sys.modules\n"
        "assert not {'torch', 'timm', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules), sys.modules.keys()"
    )
    assert done.stdout.strip()


def test_the_lazy_names_are_all_there():
    import twostage

    assert set(twostage.__all__) == set(_HOME)
    assert set(twostage.__all__) <= set(dir(twostage))
    with pytest.raises(AttributeError, match="no_such_name"):
        twostage.no_such_name  # noqa: B018


def test_few_files_lie_in_the_root():
    assert len(list(PACKAGE.glob("*.py"))) <= 12


def test_every_folder_of_modules_is_a_package():
    assert {file.parent for file in FILES if file.name == "__init__.py"} == {file.parent for file in FILES}


def test_a_wheel_carries_every_module_every_file_beside_them_and_conf(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    inside = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    conf = {f"twostage/{file.relative_to(ROOT)}" for file in (ROOT / "conf").rglob("*.yaml")}
    assert conf
    data = {file for file in PACKAGE.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    assert conf | {str(file.relative_to(ROOT)) for file in data} <= inside
