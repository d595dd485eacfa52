"""What is handed out as a package: the same bytes each time, complete, with types, and running from an empty folder."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import twostage

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow

USER = """
from twostage import Predictor, load_config, push, train
reveal_type(Predictor.load("outputs/latest"))
reveal_type(push("latest", "me/model"))
Predictor.load(3)
"""


def built(folder):
    """The sdist, and the wheel that is made of it."""
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    return next(folder.glob("*.tar.gz")), next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return built(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(package, tmp_path_factory):
    """The Python of an environment with the wheel, and with what else there is here behind it."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin/python"
    if not python.is_file():
        pytest.skip("environments look otherwise here")
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    zipfile.ZipFile(package[1]).extractall(site)
    return python


def run(command, cwd):
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
    return subprocess.run([str(word) for word in command], cwd=cwd, env=clean, capture_output=True, text=True)


def test_building_twice_gives_the_same_bytes(package, tmp_path):
    assert [file.read_bytes() for file in built(tmp_path)] == [file.read_bytes() for file in package]


def test_the_sdist_holds_what_the_tests_need_and_nothing_that_was_made(package):
    names = {name.split("/", 1)[1] for name in tarfile.open(package[0]).getnames()}
    wanted = {"conf/config.yaml", "tests/conftest.py", "twostage/py.typed", "docs/build.py", "Makefile", "LICENSE"}
    assert wanted <= names
    assert {name for name in names if name.startswith("outputs") or name.endswith((".pyc", ".pt", ".whl"))} == set()


def test_the_wheel_holds_no_tests(package):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(package[1]).namelist()}
    assert tops == {"twostage", f"twostage-{twostage.__version__}.dist-info"}


def test_an_installed_wheel_trains_in_an_empty_folder(installed, tmp_path):
    assert run([installed, "-m", "twostage", "--version"], tmp_path).stdout.strip() == twostage.__version__
    options = "data.count=60 image.size=32 train.epochs=4 bins.count=3 combine.views=1 run=a".split()
    done = run([installed, "-m", "twostage", "train", *options], tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs/a/MODEL_CARD.md").is_file()


def test_mypy_sees_the_types_of_an_installed_wheel(installed, tmp_path):
    (tmp_path / "user.py").write_text(USER)
    done = run([sys.executable, "-m", "mypy", "--python-executable", installed, "user.py"], tmp_path)
    assert 'Revealed type is "twostage.predictor.Predictor"' in done.stdout, done.stdout + done.stderr
    assert 'Revealed type is "str"' in done.stdout
    assert 'Argument 1 to "load" of "Predictor" has incompatible type "int"' in done.stdout
    assert "Found 1 error" in done.stdout
