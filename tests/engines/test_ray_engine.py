"""`twostage predict engine=ray`: the rows of engine=local, whatever happens to workers, files and the command."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from helpers import one_line

from twostage.engines import ray_engine
from twostage.engines.ray_engine import OnRay
from twostage.run.predicting import Told

ROWS = 150
COMMAND = ["predict", "run=a", "input=new.csv", "runtime.progress=false"]
RAY = [*COMMAND, "engine=ray", "shard=64", "output=rows"]
FILES = ["rows_000000000.parquet", "rows_000000064.parquet", "rows_000000128.parquet"]


@pytest.fixture
def table(work):
    """More rows than a shard has, some refused, with and without a known target."""
    lines = [f"p{i % 40:02d}.png,{'' if i % 3 else 100 + i},lot {i}" for i in range(ROWS)]
    lines[70] = "nowhere.png,120,=lost"
    (work / "new.csv").write_text("\n".join(["image,target,note", *lines, ""]))
    return work


def both(folder):
    """The rows of the folder, without their number, and those of engine=local."""
    rows, local = pd.read_parquet(folder / "rows"), pd.read_parquet(folder / "local.parquet")
    assert rows.columns[0] == "row"
    np.testing.assert_array_equal(rows["row"], np.arange(len(rows)))
    return rows.drop(columns="row").rename(columns={"table_row": "row"}), local


def killing(times, after, folder):
    """What workers are to do in place of `read_shard`: die in the second shard, after some rows, so many times."""

    def read(work, shard, wanted, stamp):
        import os
        import signal
        from pathlib import Path

        from twostage.engines.ray_engine import read_shard
        from twostage.tables.growing import GrowingTable

        add, left = GrowingTable.add, [after]

        def killed(self, frame, notes):
            add(self, frame, notes)
            left[0] -= 1
            deaths = list(Path(folder).glob("died.*"))
            if shard.start == 64 and not left[0] and len(deaths) < times:
                Path(folder, f"died.{len(deaths)}").touch()
                self.note()
                os.kill(os.getpid(), signal.SIGKILL)

        GrowingTable.add = killed
        try:
            return read_shard(work, shard, wanted, stamp)
        finally:
            GrowingTable.add = add

    return read


def test_the_rows_are_those_of_local_and_what_is_finished_is_not_read_again(cluster, table, run, monkeypatch):
    text = (table / "new.csv").read_text().replace("note", "note,row,status").replace("\n", ",-1,new\n")
    (table / "new.csv").write_text(text.replace("status,-1,new", "status"))  # columns called as those of rows
    assert run(*COMMAND, "output=local.parquet", "spreadsheet=true")[0] == 0
    said = run(*COMMAND, "spreadsheet=true")[2].splitlines()
    status, out, err = run(*RAY, "spreadsheet=true")
    assert (status, out) == (0, ""), err
    rows, expected = both(table)
    pd.testing.assert_frame_equal(rows, expected, check_exact=True)
    assert {"row", "table_status", "note"} <= set(rows.columns)
    renamed, *told = err.splitlines()
    assert "row as table_row, status as table_status" in renamed
    assert told == [line.replace("150 photographs", "150 photographs, written to rows") for line in said[1:]]
    assert sorted(file.name for file in (table / "rows").iterdir()) == ["_shards", *FILES]
    assert [len(pd.read_parquet(table / "rows" / name)) for name in FILES] == [64, 64, 22]
    left = {file.name for file in (table / "rows" / "_shards").iterdir()}
    assert left == {"command.json", *(f"{name}.json" for name in FILES)}

    monkeypatch.setattr(OnRay, "_read", lambda *_: pytest.fail("read again"))
    again = run(*RAY, "spreadsheet=true")[2]
    assert again.splitlines() == [renamed, "150 of 150 rows are there already", *told]


def test_a_damaged_file_and_one_that_is_gone_are_made_again(cluster, table, run):
    expected = run(*RAY)[2].splitlines()
    whole = pd.read_parquet(table / "rows")
    data = (table / "rows" / FILES[0]).read_bytes()
    (table / "rows" / FILES[0]).write_bytes(data[:500] + b"x" + data[501:])
    (table / "rows" / FILES[1]).unlink()
    (table / "rows" / "_shards" / f"{FILES[2]}.json").write_text("{")
    status, _, err = run(*RAY)
    assert status == 0, err
    damaged = [f"{table}/rows/{name} is damaged or gone: its rows are read again" for name in FILES]
    assert err.splitlines() == [*damaged, *expected]
    pd.testing.assert_frame_equal(pd.read_parquet(table / "rows"), whole, check_exact=True)
    assert (table / "rows" / FILES[0]).read_bytes() == data


def test_a_worker_that_dies_costs_nothing_but_a_line(cluster, table, run, monkeypatch):
    assert run(*COMMAND, "output=local.parquet")[0] == 0
    monkeypatch.setattr(ray_engine, "read_shard", killing(1, 1, table))
    status, _, err = run(*RAY)
    assert status == 0, err
    assert (table / "died.0").exists()
    assert err.splitlines()[0] == (
        "the worker that reads rows 64..127 has died (WorkerCrashedError): another will go on with them"
    )
    pd.testing.assert_frame_equal(*both(table), check_exact=True)
    assert [file.name for file in (table / "rows" / "_shards").glob(".*")] == []


@pytest.mark.slow
def test_rows_that_kill_every_worker_get_one_line_and_the_others_stay(cluster, table, run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ray_engine, "TRIES", 2)
        patch.setattr(ray_engine, "read_shard", killing(9, 1, table))
        status, _, err = run(*RAY, "runtime.threads=1")
    assert status == 1
    assert err.splitlines()[-1].startswith("twostage: the worker that reads rows 64..127 has died 2 times")
    assert len(err.splitlines()) == 2
    assert [(table / "rows" / name).exists() for name in FILES] == [True, False, True]
    status, _, err = run(*RAY, "runtime.threads=auto")
    assert (status, err.splitlines()[0]) == (0, "86 of 150 rows are there already: going on")
    assert run(*COMMAND, "output=local.parquet")[0] == 0
    pd.testing.assert_frame_equal(*both(table), check_exact=True)


@pytest.mark.slow
def test_boxes_and_a_folder_are_read_as_local_reads_them(cluster, table, run):
    rng = np.random.default_rng(0)
    boxes = [f"p{i:02d}.png,{x},{y},24,24" for i, x, y in rng.integers(0, 16, (100, 3))]
    (table / "new.csv").write_text("\n".join(["image,x,y,w,h", *boxes, "p00.png,,1,2,3", ""]))
    options = ["box_columns=[x,y,w,h]"]
    assert run(*COMMAND, *options, "output=local.parquet")[0] == 0
    status, _, err = run(*RAY, *options)
    assert status == 0, err
    pd.testing.assert_frame_equal(*both(table), rtol=1e-5)
    for options in (["output=local.parquet"], ["engine=ray", "output=rows/of_folder"]):
        assert run("predict", "run=a", "input=p0*.png", *options)[0] == 0
    rows = pd.read_parquet(table / "rows" / "of_folder").drop(columns="row")
    pd.testing.assert_frame_equal(rows, pd.read_parquet(table / "local.parquet"), check_exact=True)


def test_a_stop_says_how_to_go_on(cluster, table, run, monkeypatch):
    def stop(self, count):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Told, "rows", stop)
        status, _, err = run(*RAY, "runtime.threads=1")
    assert status == 128 + signal.SIGINT
    assert err.endswith(f"twostage: stopped: {table}/rows holds 64 of 150 rows; to go on, give the same command\n")
    status, _, err = run(*RAY)
    assert status == 0
    assert run(*COMMAND, "output=local.parquet")[0] == 0
    pd.testing.assert_frame_equal(*both(table), check_exact=True)


def another_photograph(folder):
    (folder / "p03.png").unlink()
    (folder / "p03.png").symlink_to("p04.png")


def another_cell(folder):
    (folder / "new.csv").write_text((folder / "new.csv").read_text().replace("lot 99\n", "lot 98\n"))


def more_rows(folder):
    with (folder / "new.csv").open("a") as file:
        file.write("p01.png,,new\n")


def another_file(folder):
    (folder / "rows" / "mine.parquet").touch()


def another_note(folder):
    (folder / "rows" / "_shards" / "command.json").write_text("{")


def nothing(folder):
    pass


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (another_photograph, [], ["rows_000000000.parquet holds rows of other photographs, or these have changed"]),
        (another_cell, [], ["rows_000000064.parquet holds rows of other photographs", "name another output"]),
        (more_rows, [], ["was begun otherwise (rows was 150, is 151)", "begin anew"]),
        (another_file, [], ["mine.parquet", "none of its rows", "move that"]),
        (another_note, [], ["command.json cannot be read", "begin anew"]),
        (nothing, ["confidence=0.5"], ["confidence was None, is 0.5"]),
        (nothing, ["shard=32"], ["shard was 64, is 32"]),
        (nothing, ["spreadsheet=true"], ["spreadsheet was False, is True"]),
    ],
)
def test_a_folder_of_another_command_is_refused(table, run, change, options, words, finished_rows):
    subprocess.run(["cp", "-a", finished_rows, table / "rows"], check=True)
    change(table)
    one_line(run(*RAY, *options), *words)


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("rows") / "rows"


@pytest.fixture
def finished_rows(cluster, table, run, kept):
    """The folder that the command writes, made once: what its notes say of photographs holds for all tests."""
    if not kept.exists():
        assert run(*RAY)[0] == 0
        (table / "rows").rename(kept)
    return kept


def test_a_folder_of_another_model_is_refused(table, run, finished_rows):
    subprocess.run(["cp", "-a", finished_rows, table / "rows"], check=True)
    note = table / "rows" / "_shards" / "command.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"model": "0" * 64}))
    one_line(run(*RAY), "model was 000", "give that command to go on, or delete")


def test_two_commands_do_not_write_into_one_folder(table, run, finished_rows):
    subprocess.run(["cp", "-a", finished_rows, table / "rows"], check=True)
    with FileLock(table / ".rows.lock"):
        one_line(run(*RAY), "another process is writing", "name another output")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["output=new.csv"], ["output=new.csv is a file", "name a folder"]),
        (["output=readings.csv"], ["output=readings.csv is a file"]),
        (["output=photos"], ["a folder of something else (a.png)", "name a new folder"]),
        (["output=rows", "format=csv"], ["leave format=csv out"]),
        (["output=null"], ["output=FOLDER"]),
        (["output=new.csv/rows"], ["cannot be written"]),
        (["engine=rya"], ["engine=rya is not known: did you mean ray?"]),
        (["engine=local", "output=a.csv"], ["shard=64", "leave it out"]),
        (["input=nothing/"], ["no such photograph, folder or table"]),
        (["run=other"], ["other"]),
        (["shard=0"], ["out of range"]),
    ],
)
def test_what_cannot_be_is_told_in_one_line_before_ray_starts(table, run, monkeypatch, options, words):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    monkeypatch.setattr(ray_engine, "_cluster", lambda *_: pytest.fail("started"))
    (table / "photos").mkdir()
    (table / "photos" / "a.png").touch()
    named = {option.split("=")[0] for option in options}
    one_line(run(*(word for word in RAY if word.split("=")[0] not in named), *options), *words)


def test_without_ray_one_line_names_the_extra(table, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    one_line(run(*RAY), "engine=ray needs Ray: pip install 'twostage[ray]'")


def test_a_machine_that_sees_other_files_is_told(cluster, table, run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ray_engine, "stamp_of", lambda path: (1, 1))
        one_line(run(*RAY), "does not see p", ".png or ", "folders that all machines share")  # any shard may be first
    status, _, err = run(*RAY)
    assert status == 0, err


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "nowhere", "127.0.0.1:port"])
def test_an_address_where_no_cluster_is_gets_one_line_at_once(table, run, monkeypatch, address):
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("waits for minutes"))
    monkeypatch.setenv("RAY_ADDRESS", address)
    one_line(run(*RAY), f"RAY_ADDRESS={address} cannot be used: ", "HOST:PORT")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_with_a_cluster_of_its_own_is_quiet_stops_and_goes_on(table, run, number):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    command = [sys.executable, "-m", "twostage", *RAY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True) as process:
        while not list((table / "rows").glob("*.parquet")):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.05)
        os.killpg(process.pid, number)
        said = process.stdout.read().decode()
    assert process.returncode == 128 + number
    assert said.startswith(f"twostage: stopped: {table}/rows holds ")
    assert said.count("\n") == 1, said
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    status, _, err = run(*COMMAND, "output=local.parquet")
    assert status == 0
    assert done.stderr.splitlines()[1:] == [line.replace("local.parquet", "rows") for line in err.splitlines()]
    pd.testing.assert_frame_equal(*both(table), check_exact=True)
