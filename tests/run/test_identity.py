"""A run is what its folder holds: another folder, another table or other photographs are another run."""

import json
import os
import shutil

import pandas as pd
import pytest
from helpers import TINY, TINY_TABLE, few, one_line
from PIL import Image

from twostage.model_folder import description_digest
from twostage.run.folder import RunFolder, find_run


def contents(folder):
    """Every file below a folder, but for the lock."""
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("how", few([shutil.copytree], [shutil.copytree, shutil.move]))
def test_a_copied_or_renamed_run_is_the_folder_that_is_named(here, once, run, how):
    once("train", *TINY, "run=a")
    before = contents(here / "outputs/a")
    how(here / "outputs/a", here / "outputs/b")
    (here / "outputs/b/metrics.json").unlink()
    (here / "outputs/b/model/regressor.safetensors").unlink()
    status, out, err = run("train-regressor", "run=b")
    assert status == 0, err
    assert "outputs/b" in out
    assert "run=b" in out
    status, out, err = run("evaluate", "run=b")
    assert status == 0, err
    assert "Results in outputs/b" in out
    assert json.loads((here / "outputs/b/metrics.json").read_text())["n_test_openings"] == 2
    assert find_run("b").saved_config().run == "b"
    if how is shutil.copytree:
        assert contents(here / "outputs/a") == before
    else:
        assert not (here / "outputs/a").exists()


def test_a_copy_with_other_options_is_compared_with_itself(here, once, run):
    once("train", *TINY, "run=a")
    shutil.copytree(here / "outputs/a", here / "outputs/b")
    one_line(run("evaluate", *TINY, "run=b", "bins.count=4"), "run 'b' is finished", "delete outputs/b")


@pytest.mark.parametrize("name", ["a", "sweep/0", "outputs/a", "outputs/outputs/a", "/somewhere/a"])
def test_a_folder_knows_by_which_name_it_is_found(name):
    folder = RunFolder.named(name)
    assert RunFolder.named(folder.run).path == folder.path
    assert RunFolder.named("a").run == "a"


@pytest.mark.parametrize("name", ["a", "sweep/0", "elsewhere"])
def test_latest_is_the_folder_that_it_leads_to(here, name):
    folder = RunFolder.named(str(here / "elsewhere/a") if name == "elsewhere" else name)
    folder.path.mkdir(parents=True)
    folder.config.write_text("")
    (here / "outputs").mkdir(exist_ok=True)
    os.symlink(os.path.relpath(folder.path, "outputs"), "outputs/latest")
    found = find_run("latest")
    assert found.path.resolve() == folder.path.resolve()
    assert RunFolder.named(found.run).path.resolve() == folder.path.resolve()
    assert found.name == folder.name


GROUPED = [*TINY_TABLE, "data.group_column=group", "run=a"]


def rewrite(name="photos.csv", **columns):
    """Change columns of the table, each by a function."""
    table = pd.read_csv(name)
    table.assign(**{column: change(table[column]) for column, change in columns.items()}).to_csv(name, index=False)


def double(values):
    return 2 * values


CHANGES = {
    "targets": (lambda: rewrite(target=double), "p00.png (target "),
    "groups": (lambda: rewrite(group=lambda names: names.replace("g9", "g8")), "p36.png (group g9 -> g8"),
    "a photograph": (lambda: Image.open("p07.png").rotate(3).save("p07.png"), "p07.png (content "),
    "one is missing": (lambda: os.remove("p07.png"), "p07.png (no longer there)"),
    "one row less": (lambda: rewrite(image=lambda names: names.where(names != "p39.png", "p00.png")), "p00.png"),
    "no numbers": (lambda: rewrite(target=lambda values: values.astype(str) + "?"), "must hold a finite number"),
}


@pytest.mark.parametrize("change", few(["targets", "a photograph", "one is missing"], [*CHANGES]))
def test_a_finished_run_is_compared_with_its_table(photos, once, run, change):
    once("train", *GROUPED)
    before = contents(photos / "outputs/a")
    made, words = CHANGES[change]
    made()
    for command in (["train", *GROUPED], ["evaluate", "run=a"], ["train-classifier", *GROUPED], ["train-regressor"]):
        one_line(run(*command), "other photographs or concentrations", words, "another run=NAME", "delete outputs/a")
    assert contents(photos / "outputs/a") == before


def test_a_finished_run_is_shown_again_without_opening_the_test_set(photos, once, run, monkeypatch):
    first = once("train", *GROUPED)
    before = contents(photos / "outputs/a")
    rewrite(day=lambda days: days + "!")  # a column that no option names
    pd.read_csv("photos.csv")[::-1].to_csv("photos.csv", index=False)  # groups are drawn by their names
    monkeypatch.setattr("twostage.predictor.Predictor.read", lambda *_: pytest.fail("opened"))
    monkeypatch.setattr("twostage.run.data.near_duplicates", lambda *_: pytest.fail("looked for duplicates"))
    for command in (["train", *GROUPED], ["evaluate", "run=a"]):
        status, out, err = run(*command)
        assert (status, out) == (0, first[1]), err
        assert "finished already" in err
    assert contents(photos / "outputs/a") == before


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["photos.csv", "p*.png"])
def test_a_finished_run_whose_photographs_were_moved_away_is_shown_and_says_so(
    photos, once, run, gone, tmp_path_factory
):
    first, away = once("train", *GROUPED), tmp_path_factory.mktemp("away")
    for file in photos.glob(gone):
        shutil.move(file, away)
    for command in (["train", *GROUPED], ["evaluate", "run=a"]):
        status, out, err = run(*command)
        assert (status, out) == (0, first[1]), err
        (line,) = [line for line in err.splitlines() if "could not be compared" in line]
        assert "photos.csv" in line or "40 of 40 photographs are missing" in line
    if gone != "photos.csv":
        rewrite(target=double)
        one_line(run("train", *GROUPED), "p00.png (target ")


@pytest.mark.slow
def test_photographs_that_were_skipped_are_not_a_change(photos, run):
    (photos / "p05.png").write_bytes(b"nothing")
    (photos / "p06.png").unlink()
    options = [*TINY_TABLE, "run=a", "data.on_error=skip", "split.duplicates=group"]
    assert run("train", *options)[0] == 0
    status, _, err = run("train", *options)
    assert status == 0, err
    assert "finished already" in err
    (photos / "p08.png").unlink()
    one_line(run("train", *options), "p08.png (", "-> skipped")


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b"nothing", b"image,target\np00.png,1\n"])
def test_a_finished_run_without_its_table_of_splits_gets_one_line(photos, once, run, content):
    once("train", *GROUPED)
    splits = photos / "outputs/a/splits.csv"
    splits.unlink() if content is None else splits.write_bytes(content)
    one_line(run("train", *GROUPED), "outputs/a/splits.csv", "restore it, or choose another run=NAME")


STUDIES = {
    "crossval": (["split.folds=3"], "fold_{}"),
    "learning-curve": (["shares=[0.4,0.7,1]"], "share_{}"),
    "compare": (["compare.methods=[ridge,direct]", "compare.minutes=null", "split.folds=3"], "direct/seed_0_fold_{}"),
}


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_a_study_reuses_no_run_of_another_table(photos, run, study):
    options, runs = STUDIES[study]
    command = [study, *GROUPED, "train.epochs=2", "bins.count=2", *options]
    status, _, err = run(*command)
    assert status == 0, err
    first, last = ("0.4", "1") if "share" in runs else (0, 2)
    rewrite(target=double)
    words = ["other photographs or concentrations", "p00.png (target ", "another run=NAME", "delete outputs/a"]
    one_line(run(*command), *words)
    for name in ("metrics.json", "learning_curve.json", "comparison.json"):  # as if it had been killed
        (photos / "outputs/a" / name).unlink(missing_ok=True)
    shutil.rmtree(photos / "outputs/a" / runs.format(first))
    one_line(run(*command), *words)
    assert not (photos / "outputs/a" / runs.format(first)).exists()  # nothing was trained in vain
    shutil.rmtree(photos / "outputs/a" / runs.format(last))
    one_line(run(*command), *words)


@pytest.mark.slow
def test_a_run_that_started_from_one_that_was_trained_anew_is_refused(photos, once, run):
    once("train", *GROUPED)
    command = ["train", *TINY_TABLE[:2], "data.table=other.csv", *TINY_TABLE[2:], "start=outputs/a", "run=b"]
    (photos / "new").mkdir()
    for i in range(40):
        Image.open(f"p{i:02d}.png").rotate(90 + i).save(f"new/p{i:02d}.png")
    rewrite(image=lambda names: "new/" + names)
    os.rename("photos.csv", "other.csv")
    status, _, err = run(*command)
    assert status == 0, err
    assert run(*command)[0] == 0
    path = photos / "outputs/a/model/model.json"
    description = json.loads(path.read_text())
    description["sha256"]["other"] = "0123456789ab"  # as another training would leave it
    path.write_text(json.dumps(description | {"digest": description_digest(description)}))
    one_line(run(*command), "trained anew", "another run=NAME")
    shutil.rmtree("outputs/a")
    status, _, err = run(*command)
    assert status == 0
    assert "could not be compared" in err


@pytest.mark.parametrize("other", ["seed=1", "split.test=0.3", "split.duplicates=group", "data.group_column=null"])
def test_what_decides_the_split_cannot_be_forced(photos, once, run, other):
    assert once("train-classifier", *GROUPED)[0] == 0
    before = contents(photos / "outputs/a")
    options = [*(text for text in GROUPED if text.split("=")[0] != other.split("=")[0]), other]
    status, out, err = run("train", *options, "resume=force")
    one_line((status, out, err), other.split("=")[0], "another run=NAME")
    assert "resume=force" not in err
    assert contents(photos / "outputs/a") == before


def of_parts(moved=(), first="train"):
    """The table with a column that names the parts: 24 for training, 8 for validation, 4 for calibration and test."""
    parts = ["train"] * 24 + ["validation"] * 8 + ["calibration"] * 4 + ["test"] * 4
    for row, part in moved:
        parts[row] = part
    table = pd.read_csv("photos.csv")
    table.assign(day=parts).to_csv("photos.csv", index=False)


NAMED = [*TINY_TABLE, "data.split_column=day", "bins.edges=[80,170,260,350]", "bins.min_images=0", "run=a"]


@pytest.mark.parametrize(
    ("moved", "may"),
    few(
        [([(0, "test")], False), ([(24, "test")], False), ([(24, "train")], True)],
        [
            ([(0, "test")], False),
            ([(0, "validation")], False),
            ([(0, "calibration")], False),
            ([(24, "test")], False),
            ([(24, "train")], True),
            ([(36, "train")], True),
            ([(32, "test")], True),
        ],
    ),
)
def test_what_was_trained_on_cannot_be_forced_into_another_part(photos, once, run, moved, may):
    of_parts()
    assert once("train-classifier", *NAMED)[0] == 0
    before = contents(photos / "outputs/a")
    of_parts(moved)
    result = run("train-regressor", *NAMED, "resume=force")
    if may:
        assert result[0] == 0, result[2]
    else:
        one_line(result, f"p{moved[0][0]:02d}.png in {moved[0][1]}", "has learned from", "another run=NAME")
        assert contents(photos / "outputs/a") == before


def test_a_run_remembers_what_it_learned_before_it_was_forced(photos, once, run):
    of_parts()
    assert once("train-classifier", *NAMED)[0] == 0
    table = (photos / "photos.csv").read_text()
    (photos / "photos.csv").write_text("\n".join(line for line in table.splitlines() if "p00.png" not in line) + "\n")
    assert run("train-classifier", *NAMED, "resume=force")[0] == 1  # what is finished is not made again
    (photos / "outputs/a/model/classifier.safetensors").unlink()
    assert run("train-classifier", *NAMED, "resume=force")[0] == 0
    shutil.move("p00.png", "other.png")
    (photos / "photos.csv").write_text(table.replace("p00.png", "other.png"))
    of_parts([(0, "test")])
    one_line(run("train-regressor", *NAMED, "resume=force"), "other.png in test", "has learned from")
    assert run("train-regressor", *NAMED[:-1], "run=b", "resume=force")[0] == 1  # there is no stage 1


def test_a_specimen_that_was_trained_on_cannot_be_forced_into_another_part(photos, once, run):
    of_parts()
    options = [*NAMED, "data.group_column=group"]
    assert once("train-classifier", *options)[0] == 0
    Image.open("p00.png").rotate(180).save("new.png")
    with (photos / "photos.csv").open("a") as file:
        file.write("new.png,100,g0,test\n")
    rewrite(day=lambda days: days.where(~days.index.isin(range(4)), "test"))
    rewrite(image=lambda names: names.where(~names.index.isin(range(4)), "new/" + names))
    (photos / "new").mkdir()
    for i in range(4):
        Image.open(f"p{i:02d}.png").rotate(90).save(f"new/p{i:02d}.png")  # other photographs of g0
    one_line(run("train-regressor", *options, "resume=force"), "new/p00.png in test", "has learned from")


@pytest.mark.slow
def test_what_the_start_of_a_run_had_learned_cannot_be_forced_into_its_test_set(photos, once, run):
    of_parts()
    assert once("train", *NAMED)[0] == 0
    (photos / "new").mkdir()
    for i in range(40):
        Image.open(f"p{i:02d}.png").rotate(90 + i).save(f"new/p{i:02d}.png")
    table = pd.read_csv("photos.csv")
    table.assign(image="new/" + table["image"]).to_csv("photos.csv", index=False)
    options = [*NAMED[:-1], "start=outputs/a", "run=b"]
    status, _, err = run("train-classifier", *options)
    assert status == 0, err
    shutil.copy("p00.png", "new/p39.png")  # stage 2 starts from stage 1, and no longer looks at the start itself
    one_line(run("train-regressor", *options, "resume=force"), "new/p39.png in test", "has learned from")


def test_a_comparison_of_colours_is_not_made_again_of_other_photographs(photos, run):
    command = ["compare", *GROUPED, "compare.methods=[mean,ridge]", "split.folds=2"]
    command = [word for word in command if not word.startswith("train.")]
    status, first, err = run(*command)
    assert status == 0, err
    assert run(*command)[:2] == (0, first)
    before = contents(photos / "outputs/a")
    rewrite(target=double)
    one_line(run(*command), "other photographs or concentrations", "p00.png (target ", "delete outputs/a")
    assert contents(photos / "outputs/a") == before


@pytest.mark.slow
def test_a_fold_whose_predictions_are_gone_gets_one_line(photos, run):
    command = ["crossval", *GROUPED, "train.epochs=2", "bins.count=2", "split.folds=2"]
    assert run(*command)[0] == 0
    (photos / "outputs/a/fold_1/predictions.csv").unlink()
    status, out, err = run(*command)
    one_line((status, out, err.splitlines(keepends=True)[-1]), "fold_1/predictions.csv", "delete outputs/a/fold_1")


@pytest.mark.parametrize("lost", ["config.yaml", "splits.csv"])
@pytest.mark.parametrize("command", ["train-classifier", "train"])
def test_a_run_that_lost_what_says_what_it_was_made_of_is_not_used(photos, once, run, lost, command):
    once(command, *GROUPED)
    (photos / "outputs/a" / lost).unlink()
    rewrite(target=double)
    for force in ("auto", "force"):
        one_line(run("train", *GROUPED, f"resume={force}"), f"outputs/a/{lost} cannot be read")
