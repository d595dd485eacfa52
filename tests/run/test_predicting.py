"""`twostage predict` over many photographs: formats, streams, and what a stop at any moment leaves."""

import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from helpers import TINY, one_line

from twostage import Predictor
from twostage.predictor import CHUNK
from twostage.run.predicting import Wanted
from twostage.tables.growing import GrowingTable

QUICK = [*TINY, "runtime.threads=1", "runtime.precision=float32", "run=a"]
ROWS = 150
COMMAND = ["predict", "run=a", "input=new.csv", "runtime.threads=1", "runtime.progress=false"]


@pytest.fixture
def trained(photos, once):
    """A run, and a table of more rows than are read at a time, some refused, with and without a known target."""
    assert once("train", *QUICK)[0] == 0
    lines = [f"p{i % 40:02d}.png,{'' if i % 3 else 100 + i},lot {i}" for i in range(ROWS)]
    lines[70] = "nowhere.png,120,=lost"
    (photos / "new.csv").write_text("\n".join(["image,target,note", *lines, ""]))
    return photos


def stopped_by(monkeypatch, error, after=2):
    """Let the command stop while it writes, so many chunks after the first."""
    write, left = GrowingTable._write, itertools.count(after, -1)

    def broken(self, data):
        if next(left):
            return write(self, data)
        write(self, data[: len(data) // 2])
        raise error

    monkeypatch.setattr(GrowingTable, "_write", broken)


def leftovers(folder):
    return sorted(file.name for file in folder.iterdir() if ".part" in file.name or file.name.startswith("."))


def values(path):
    """The cells of a table in any format, as Python says them."""
    if path.suffix == ".parquet":
        rows = pd.read_parquet(path).astype(object).to_dict("records")
    elif path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        types = {"reason": str, "note": str, "bin_index": "Int64"}
        frame = pd.read_csv(path, dtype=types, float_precision="round_trip")
        rows = frame.astype(object).to_dict("records")
    return [{key: None if value == "" or pd.isna(value) else value for key, value in row.items()} for row in rows]


def test_all_formats_hold_the_same_values(trained, run):
    pytest.importorskip("pyarrow")
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        assert run(*COMMAND, f"output={name}", "spreadsheet=true")[0] == 0
    expected = values(trained / "a.csv")
    assert len(expected) == ROWS
    assert expected[70]["status"] == "refused"
    assert expected[70]["note"] == "'=lost"
    assert values(trained / "a.jsonl") == values(trained / "a.parquet") == expected
    assert leftovers(trained) == []
    assert run(*COMMAND, "format=jsonl", "spreadsheet=true")[1] == (trained / "a.jsonl").read_text()


KILLED = """
import os, signal, sys
import pandas, torch
from twostage import cli
from twostage.tables import growing
growing.SECONDS = 0
torch.set_num_threads(1)
for output in sys.argv[1:]:
    child = os.fork()
    if child:
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        continue
    add, left = growing.GrowingTable.add, [2]
    def killed(self, frame, notes):
        add(self, frame, notes)
        left[0] -= 1
        if not left[0]:
            self.file.write(b"half a row")
            self.file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    growing.GrowingTable.add = killed
    cli.main([%s, f"output={output}"])
"""


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_and_the_bytes_are_those_of_an_undisturbed_command(trained, run):
    pytest.importorskip("pyarrow")
    names = ["a.csv", "a.jsonl", "a.parquet"]
    code = KILLED % ", ".join(map(repr, COMMAND))
    killed = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True)
    assert killed.returncode == 0, killed.stderr
    for name in names:
        assert not (trained / name).exists()
        status, _, err = run(*COMMAND, f"output={name}")
        assert status == 0, err
        assert f"{2 * CHUNK} of {ROWS} rows are there already" in err
        resumed = (trained / name).read_bytes()
        undisturbed = run(*COMMAND, f"output={name}")[2]  # over the finished one
        assert (trained / name).read_bytes() == resumed
        assert err.splitlines()[-2:] == undisturbed.splitlines()[-2:]  # RMSE and counts are of all rows
    assert leftovers(trained) == []


def test_ctrl_c_says_how_to_go_on_and_loses_no_row(trained, run, monkeypatch):
    with monkeypatch.context() as patch:
        stopped_by(patch, KeyboardInterrupt())
        status, _, err = run(*COMMAND, "output=a.csv")
    assert status == 128 + signal.SIGINT
    assert (
        err.splitlines()[-1]
        == f"twostage: stopped: {trained}/a.csv.part holds 64 rows; to go on, give the same command"
    )
    status, _, err = run(*COMMAND, "output=a.csv")
    assert (status, "64 of 150 rows are there already" in err) == (0, True)
    assert run(*COMMAND)[1] == (trained / "a.csv").read_text()
    assert run("predict", "run=a", "input=p00.png", "output=a.csv")[0] == 0  # a finished one is overwritten
    assert len((trained / "a.csv").read_text().splitlines()) == 2


def test_a_full_disk_gets_one_line_and_the_command_goes_on_later(trained, run, monkeypatch):
    with monkeypatch.context() as patch:
        stopped_by(patch, OSError(28, "No space left on device"))
        one_line(run(*COMMAND, "output=a.csv"), "a.csv", "No space left on device", "goes on where it stood")
    assert not (trained / "a.csv").exists()
    assert run(*COMMAND, "output=a.csv")[0] == 0
    assert run(*COMMAND)[1] == (trained / "a.csv").read_text()


def touched(folder):
    os.utime(folder / "p03.png", ns=(1, 1))


def another_cell(folder):
    (folder / "new.csv").write_text((folder / "new.csv").read_text().replace("lot 7\n", "lot 8\n"))


def shorter(folder):
    (folder / "new.csv").write_text("image,target,note\np00.png,1,x\n")


@pytest.mark.parametrize("change", [touched, another_cell, shorter, lambda folder: (folder / "p05.png").unlink()])
def test_inputs_that_changed_meanwhile_are_not_mixed(trained, run, monkeypatch, change):
    with monkeypatch.context() as patch:
        stopped_by(patch, KeyboardInterrupt())
        run(*COMMAND, "output=a.csv")
    part = (trained / "a.csv.part").read_bytes()
    change(trained)
    one_line(run(*COMMAND, "output=a.csv"), "64 photographs", "have changed", "delete", "a.csv.part to begin anew")
    assert (trained / "a.csv.part").read_bytes()[: len(part) // 2] == part[: len(part) // 2]
    (trained / "a.csv.part").unlink()
    assert run(*COMMAND, "output=a.csv")[0] == 0
    assert leftovers(trained) == []


def test_a_table_that_grew_meanwhile_is_gone_on_with(trained, run, monkeypatch):
    with monkeypatch.context() as patch:
        stopped_by(patch, KeyboardInterrupt())
        run(*COMMAND, "output=a.csv")
    with (trained / "new.csv").open("a") as file:
        file.write("p01.png,,new\n")
    status, _, err = run(*COMMAND, "output=a.csv")
    assert status == 0, err
    assert "64 of 151 rows are there already" in err
    assert run(*COMMAND)[1] == (trained / "a.csv").read_text()


def test_another_command_a_damaged_part_and_a_strange_file_are_told(trained, run, monkeypatch):
    with monkeypatch.context() as patch:
        stopped_by(patch, KeyboardInterrupt())
        run(*COMMAND, "output=a.csv")
    one_line(run(*COMMAND, "output=a.csv", "spreadsheet=true"), "spreadsheet was False, is True", "delete")
    text = (trained / "a.csv.part").read_bytes()
    (trained / "a.csv.part").write_bytes(text.replace(b"p07", b"p08"))
    one_line(run(*COMMAND, "output=a.csv"), "not what was written")
    (trained / "a.csv.part.json").write_text("{")
    one_line(run(*COMMAND, "output=a.csv"), "cannot be read", "begin anew")
    (trained / "a.csv.part.json").unlink()
    one_line(run(*COMMAND, "output=a.csv"), "nothing says what it is", "rename it")
    with FileLock(trained / ".a.csv.lock"):
        one_line(run(*COMMAND, "output=a.csv"), "another process")


def listed(monkeypatch, content):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize("content", [b"p02.png\np00.png\n", b"p02.png\r\n\r\np00.png", b"p02.png\0p00.png\0"])
def test_paths_from_standard_input(trained, run, monkeypatch, content):
    listed(monkeypatch, content)
    status, out, err = run("predict", "run=a", "input=-")
    assert status == 0, err
    assert [line.split(",")[0] for line in out.splitlines()[1:]] == ["p02.png", "p00.png"]


def test_standard_input_that_names_nothing_gets_one_line(trained, run, monkeypatch):
    listed(monkeypatch, b"\n")
    one_line(run("predict", "run=a", "input=-"), "names no photograph", "one path a line")
    one_line(run("predict", "run=a", "input=-", "images=."), "input=- is none")


def test_a_photograph_that_vanishes_after_it_was_listed_is_a_refused_row(trained, run, monkeypatch):
    of = Wanted.of

    def vanishing(*arguments):
        (trained / "p03.png").unlink()
        return of(*arguments)

    monkeypatch.setattr(Wanted, "of", vanishing)
    assert run("predict", "run=a", "input=p0*.png", "output=a.csv")[0] == 0
    table = pd.read_csv(trained / "a.csv")
    assert table["image"].tolist() == [f"p0{i}.png" for i in range(10)]
    assert table["status"].eq("refused").tolist() == [i == 3 for i in range(10)]


@pytest.mark.slow
def test_rows_are_printed_as_they_come(trained, run, monkeypatch):
    printed = []
    monkeypatch.setattr("twostage.cli._print", lambda text, is_data=False: printed.append(text))
    run(*COMMAND)
    assert [text.count("\n") for text in printed[:-1]] == [CHUNK + 1, CHUNK, CHUNK, CHUNK, ROWS - 4 * CHUNK]
    pipe = [sys.executable, "-m", "twostage", *COMMAND]
    with subprocess.Popen(pipe, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ended:
        ended.stdout.close()
        said = ended.stderr.read().decode()
    assert ended.returncode == 1
    assert said.splitlines()[-1] == "twostage: the program that the rows are printed to takes no more of them"


def test_a_pipe_takes_rows_as_they_are(trained, run):
    os.mkfifo("pipe")
    with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE) as reader:
        assert run(*COMMAND, "output=pipe")[0] == 0
        assert reader.stdout.read().decode() == run(*COMMAND)[1]
    one_line(run(*COMMAND, "output=pipe", "format=parquet"), "needs a file")


def test_parquet_without_its_library_or_without_a_file_gets_one_line(trained, run, monkeypatch):
    one_line(run(*COMMAND, "format=parquet"), "output=NAME.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    one_line(run(*COMMAND, "output=a.parquet"), "pip install 'twostage[parquet]'", "format=csv")


def test_what_json_and_parquet_cannot_hold_is_said_before_anything_is_read(trained, run, monkeypatch):
    pytest.importorskip("pyarrow")
    name = os.fsdecode(b"caf\xe9.png")
    shutil.copy(trained / "p00.png", name)
    status, _, err = run("predict", "run=a", "input=caf*.png", "output=a.jsonl")
    assert (status, json.loads((trained / "a.jsonl").read_text())["image"]) == (0, name), err
    (trained / "new.csv").write_text("image,a,a\np00.png,1,2\n")
    read = Predictor.read

    def refuse(self, pixels, failed=None):
        assert not len(pixels), "read"
        return read(self, pixels, failed)

    monkeypatch.setattr(Predictor, "read", refuse)
    one_line(run("predict", "run=a", "input=caf*.png", "output=a.parquet"), "no Unicode", "format=csv")
    for output in ("b.jsonl", "b.parquet"):
        one_line(run("predict", "run=a", "input=new.csv", f"output={output}"), "two columns are named 'a'")


def test_parquet_has_groups_of_rows(trained, run, monkeypatch):
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("twostage.tables.row_formats.ROW_GROUP", 64)
    assert run(*COMMAND, "output=a.parquet")[0] == 0
    file = pq.ParquetFile(trained / "a.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [64, 64, 22]
    assert file.schema_arrow.field("bin_index").type == "int64"


def test_progress_where_there_is_no_terminal(trained, run, monkeypatch):
    monkeypatch.setattr("twostage.run.predicting.TELL", 0)
    _, _, err = run(*[word for word in COMMAND if "progress" not in word])
    assert f"{CHUNK} of {ROWS} photographs read, " in err
    assert " a second, 00:0" in err


@pytest.fixture
def predictor(trained):
    return Predictor.load("outputs/a", device="cpu")


@pytest.mark.parametrize("threads", [1, 3])
def test_a_stream_gives_what_predict_gives_and_takes_no_more_than_is_read(trained, predictor, threads):
    taken, given = itertools.count(), 0
    names = [f"p{i % 40:02d}.png" for i in range(300)]
    torch.set_num_threads(threads)
    try:
        parts = []
        for part in predictor.stream(name for name in names if next(taken) >= 0):
            given += len(part)
            parts.append(part.concentration)
            ahead = int(repr(taken)[6:-1]) - given
            assert ahead <= (threads + 1) * CHUNK
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(1)
    np.testing.assert_array_equal(np.concatenate(parts), predictor.predict(names).concentration)


def test_a_stream_that_is_left_ends_its_threads(trained, predictor):
    readings = predictor.stream("p00.png" for _ in itertools.count())
    next(readings)
    readings.close()
    with pytest.raises(ValueError, match="give each box its photograph"):
        predictor.stream(["p00.png"], np.zeros((2, 4)))
    with pytest.raises(ValueError, match="write \\[photograph\\]"):
        predictor.stream("p00.png")


def test_boxes_are_streamed_in_the_order_of_the_rows(trained, predictor, monkeypatch):
    monkeypatch.setattr("twostage.predictor.WINDOW", 64)
    rng = np.random.default_rng(0)
    names = [f"p{i:02d}.png" for i in rng.integers(0, 4, 200)]
    boxes = np.column_stack([rng.integers(0, 16, (200, 2)), np.full((200, 2), 24)])
    whole = predictor.predict(names, boxes).concentration
    one = [
        predictor.predict([name], box[None]).concentration[0]
        for name, box in zip(names[::20], boxes[::20], strict=True)
    ]
    np.testing.assert_allclose(whole[::20], one, rtol=1e-4)
