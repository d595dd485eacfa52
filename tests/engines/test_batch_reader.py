import io
import pickle
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from twostage import BatchReader, Predictor
from twostage.engines import loaded
from twostage.errors import ConfigError, ModelFolderError

NAMES = [f"p{i:02d}.png" for i in range(6)]


@pytest.fixture
def reader(trained):
    return BatchReader(trained / "outputs" / "a", folder=trained)


def alike(found, expected):
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected.reset_index(drop=True), check_exact=True)


def test_columns_are_those_of_a_prediction_beside_what_was_given(reader, trained):
    predictor = Predictor.load(trained / "outputs" / "a", device="cpu")
    expected = predictor.predict([trained / name for name in NAMES]).to_frame(NAMES)
    table = pd.DataFrame({"lot": range(6), "image": NAMES, "status": list("abcdef")}, index=range(10, 16))
    read = reader(table)
    assert list(read.columns) == ["lot", "image", "table_status", *expected.columns.drop("image")]
    assert list(read.index) == list(table.index)
    alike(read[expected.columns], expected)
    assert read["table_status"].tolist() == list("abcdef")
    columns = reader({"image": np.array(NAMES, object), "lot": list(range(6))})
    assert columns["lot"] == list(range(6))
    alike(pd.DataFrame(columns)[expected.columns].astype({"bin_index": "Int64"}), expected)
    assert all(isinstance(columns[name], np.ndarray) for name in expected.columns)


@pytest.mark.parametrize("kind", ["bytes", "arrays", "one array"])
def test_photographs_may_be_paths_bytes_or_pixels(reader, trained, kind):
    expected = reader({"image": NAMES})["concentration"]
    pixels = [np.asarray(Image.open(trained / name)) for name in NAMES]
    given = {
        "bytes": [(trained / name).read_bytes() for name in NAMES],
        "arrays": pixels,
        "one array": np.stack(pixels),
    }
    np.testing.assert_array_equal(reader({"image": given[kind]})["concentration"], expected)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("nowhere.png", "no such photograph"),
        (b"no photograph", "image"),
        (b"", "image"),
        ("", "no photograph is named"),
        (None, "no photograph is named"),
        (np.nan, "no photograph is named"),
        (pd.NA, "no photograph is named"),
        (7, "int is no photograph"),
        ([1, 2], "list is no photograph"),
        (np.zeros((4, 4, 3)), "ndarray is no photograph"),
        (np.zeros((0, 4, 3), np.uint8), "ndarray is no photograph"),
    ],
)
def test_what_is_no_photograph_is_a_refused_row_among_others(reader, trained, cell, reason):
    cells = np.empty(3, object)
    cells[:] = [NAMES[0], None, NAMES[1]]
    cells[1] = cell
    read = reader({"image": cells, "lot": [1, 2, 3]})
    assert list(read["status"] == "refused") == [False, True, False]
    assert reason in read["reason"][1]
    assert np.isnan(read["concentration"][1])
    assert read["bin_index"][1] is None
    expected = reader({"image": NAMES[:2]})["concentration"]
    np.testing.assert_allclose(read["concentration"][::2], expected, rtol=1e-6)  # as float32 rounds in other batches


def test_an_empty_batch_has_all_columns(reader):
    whole = reader(pd.DataFrame({"image": NAMES}))
    alike(reader(pd.DataFrame({"image": NAMES[:0]})).astype(whole.dtypes), whole.head(0))
    assert [len(values) for values in reader({"image": []}).values()] == [0] * whole.shape[1]


def test_boxes_are_read_as_predict_reads_them(trained):
    reader = BatchReader(trained / "outputs" / "a", boxes=["x", "y", "w", "h"], folder=trained)
    boxes = np.array([[0, 0, 20, 20], [20, 20, 20, 20], [0, 0, 40, 40.0], [np.nan, 0, 20, 20]])
    columns = dict(zip("xywh", boxes.T, strict=True))
    read = reader({"image": ["p03.png"] * 4, **columns, "x": ["0", "20", "0", "?"]})
    expected = Predictor.load(trained / "outputs" / "a").predict([trained / "p03.png"] * 4, boxes)
    np.testing.assert_array_equal(read["concentration"], expected.concentration)
    assert read["status"][3] == "refused"
    with pytest.raises(ConfigError, match="no column 'w'"):
        reader({"image": NAMES, "x": NAMES, "y": NAMES})
    with pytest.raises(ConfigError, match="left, top, width and height"):
        BatchReader(trained / "outputs" / "a", boxes=["x", "y"])


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"photo": NAMES}, "no column 'image': allowed: photo"),
        ({"imag": NAMES}, "did you mean imag"),
        ({"image": NAMES, "lot": [1]}, "as long as each other"),
        (NAMES, "columns by name"),
        (pd.DataFrame([NAMES], columns=["image"] * 6), "differ by name"),
    ],
)
def test_a_batch_that_is_none_gets_one_line(reader, batch, message):
    with pytest.raises(ConfigError, match=message) as error:
        reader(batch)
    assert "\n" not in str(error.value)


def test_what_is_sent_is_small_and_the_model_is_loaded_once_in_a_process(reader, trained, monkeypatch):
    loads, load = [], Predictor.load
    monkeypatch.setattr(Predictor, "load", lambda *given: loads.append(given) or load(*given))
    loaded._load.cache_clear()
    sent = pickle.dumps(reader)
    assert len(sent) < 2000
    copies = [pickle.loads(sent) for _ in range(3)]
    threads = [threading.Thread(target=copy, args=[{"image": NAMES[:1]}]) for copy in copies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


def test_it_reads_on_one_thread_and_leaves_the_callers_as_they_are(reader, monkeypatch):
    seen, read = [], Predictor.read
    monkeypatch.setattr(Predictor, "read", lambda *given: seen.append(torch.get_num_threads()) or read(*given))
    torch.set_num_threads(3)
    try:
        reader({"image": NAMES * 10})
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    assert set(seen) == {1}


@pytest.mark.slow
def test_another_process_in_another_folder_reads_the_same(reader, tmp_path):
    (tmp_path / "reader").write_bytes(pickle.dumps(reader))
    code = "import pickle, sys; print(*pickle.load(open('reader', 'rb'))({'image': sys.argv[1:]})['concentration'])"
    done = subprocess.run(
        [sys.executable, "-c", code, *NAMES], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    expected = reader({"image": NAMES})["concentration"]
    np.testing.assert_array_equal(np.array(done.stdout.split(), float), expected)


def test_a_model_that_was_replaced_or_is_gone_is_told(work, trained):
    (work / "outputs").unlink()
    subprocess.run(["cp", "-r", trained / "outputs", work / "outputs"], check=True)
    reader = BatchReader("outputs/a", folder=work)
    for path in (work / "outputs" / "a").rglob("model.json"):
        path.write_text(path.read_text().replace('"unit": ""', '"unit": "mg"'))
    with pytest.raises(ModelFolderError):
        reader({"image": NAMES})
    with pytest.raises(ModelFolderError, match="no such run or model folder"):
        BatchReader("outputs/b")


def test_a_stream_of_bytes_may_be_any_buffer(reader, trained):
    content = (trained / "p00.png").read_bytes()
    kinds = [bytearray(content), memoryview(content), io.BytesIO(content), Image.open(trained / "p00.png")]
    assert len(set(reader({"image": kinds})["concentration"])) == 1
