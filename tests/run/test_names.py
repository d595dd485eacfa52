"""Where a run may be: names are names, a path is one where it is asked for, and nothing of others is written over."""

from pathlib import Path

import pytest
from helpers import TINY, few, one_line

from twostage.errors import TwoStageError
from twostage.run.folder import RunFolder

LONG = "n" * 300


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a", "outputs/a"),
        ("1.10", "outputs/1.10"),
        ("study/fold_0", "outputs/study/fold_0"),
        ("outputs/a", "outputs/a"),
        ("outputs/study/direct/seed_0", "outputs/study/direct/seed_0"),
        ("a b, c (1)=", "outputs/a b, c (1)="),
        ("a..b", "outputs/a..b"),
        ("/tmp/x/a", "/tmp/x/a"),
    ],
)
def test_a_name_is_below_outputs_and_a_path_where_it_says_so(name, path):
    assert RunFolder.named(name).path == Path(path)


BAD = ["", ".", "..", "../x", "a/../../x", "outputs", "outputs/", "outputs/..", "outputs/../x", ".cache", "a/.lock"]
BAD += ["outputs/.cache", "~", "~/", "/", "~nosuch", "~nosuch/x", LONG, f"a/{LONG}", "a\0b", "/" + "x/" * 3000]


@pytest.mark.parametrize("name", BAD, ids=lambda name: repr(name)[:30])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(TwoStageError, match="run") as error:
        RunFolder.named(name)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


STUDIES = [["train", "-m"], ["crossval"], ["compare", "compare.minutes=null"], ["learning-curve"]]
ELSEWHERE = ["../x", "", "~", "/", ".cache", LONG, "~nosuch"]


@pytest.mark.parametrize(
    ("command", "name"),
    few(
        [*((["train"], name) for name in ELSEWHERE), *((command, "../x") for command in STUDIES)],
        [(command, name) for command in (["train"], *STUDIES) for name in ELSEWHERE],
    ),
    ids=lambda value: " ".join(value) if isinstance(value, list) else value[:9],
)
def test_no_command_writes_anywhere_else(here, run, command, name):
    one_line(run(*command, *TINY, f"run={name}"), "run=")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "", "~", LONG, "~nosuch"], ids=lambda name: name[:9])
def test_nor_does_one_read_there(here, run, name):
    one_line(run("predict", f"run={name}", "input=x.png"), "run=")
    one_line(run("evaluate", f"run={name}"), "run=")


COMMANDS = [
    ["train"],
    ["train", "-m"],
    ["train-classifier"],
    ["crossval"],
    ["compare", "compare.minutes=null"],
    ["learning-curve"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_folder_that_is_no_run_is_left_alone(here, run, command):
    for folder in (here / "photographs", here / "outputs/notes"):
        (folder / "deep").mkdir(parents=True)
        (folder / "deep/thesis.txt").write_text("years")
        (folder / "mine.txt").write_text("hours")
    before = sorted(here.rglob("*"))
    for name in (str(here / "photographs"), "notes", str(here)):
        one_line(run(*command, *TINY, f"run={name}"), "another run=NAME")
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("command", few([["train"], ["crossval"]], COMMANDS), ids=" ".join)
def test_no_run_is_made_inside_another(here, once, run, command):
    assert once("train-classifier", *TINY, "run=a")[0] == 0
    before = sorted((here / "outputs").rglob("*"))
    for name in ("a/model", "a/classifier", "a/figures", "a/model/x", "latest/model", f"{here}/outputs/a/model"):
        one_line(run(*command, *TINY, f"run={name}"), "inside run", "another run=NAME")
    if command != ["train-classifier"] and command != ["train"]:
        answer = run(*command, *TINY, "run=a")
        one_line(answer, "another run=NAME")
        assert "full_key" not in answer[2]
    assert sorted((here / "outputs").rglob("*")) == before


def test_an_empty_folder_may_become_a_run(here, run):
    (here / "elsewhere").mkdir()
    (here / "outputs/a").mkdir(parents=True)
    for name in (str(here / "elsewhere"), "a"):
        assert run("train-classifier", *TINY, f"run={name}")[0] == 0
        assert run("train-classifier", *TINY, f"run={name}")[0] == 0
    assert (here / "elsewhere/config.yaml").is_file()


def test_numbers_in_names_are_two_runs(here, run):
    for name in ("1.10", "1.1", "2026_11_25", "${x}"):
        assert run("train-classifier", *TINY, f"run={name}")[0] == 0
        assert (here / "outputs" / name / "config.yaml").is_file()
        assert RunFolder.named(name).saved_config().run == name
