"""A text is what was written: no number, no list, no interpolation is read into it."""

import random

import pytest
import yaml
from omegaconf import OmegaConf

from twostage import load_config
from twostage.errors import ConfigError
from twostage.options.commands import COMMANDS
from twostage.options.compose import prepare, to_typed
from twostage.options.flat import flatten, to_plain
from twostage.options.texts import escaped, text_options

TEXTS = [
    *("1.10", "1.1", "1e3", "2026_11_25", "0x10", "007", "-3", ".5", "inf", "nan", "true", "True", "null", "NULL"),
    *("NO2- (mg/L)", "Conc, ppm", "[mg/L]", "[a,b]", "{a: 1}", "pH=", "=", "it's", "'", '"', "'a' and 'b'", "a: b"),
    *("${x}", "${oc.env:PATH}", "$x", "\\${x}", "a\\", "a\\'", "C:\\data\\x", "${", "}", "???x", "choice(a,b)"),
    *(" a ", "a\tb", "a\nb", "µg/l", "12,5", "@x", "~x", "-", "*?", "\udcff.png"),
]
KEYS = ["data.table", "data.image_column", "data.target_column", "data.unit", "data.group_column", "runtime.cache_dir"]
KEYS += ["run", "runtime.device", "split.column", "start"]
OPTIONAL = {"split.column", "data.group_column", "backbone.weights"}
BASE = ["data=csv", "data.table=t.csv", "backbone=resnet10t"]


def value_of(config, key):
    for name in key.split("."):
        config = getattr(config, name)
    return config


def taken_as_written(texts):
    """Give each of these options its text, all at once."""
    config = load_config([*BASE, *(f"{key}={text}" for key, text in texts.items())])
    for key, text in texts.items():
        assert value_of(config, key) == (None if text == "null" and key in OPTIONAL else text), key


@pytest.mark.parametrize("first", range(0, len(TEXTS), len(KEYS)))
def test_texts_are_taken_as_written(first):
    texts = TEXTS[first:] + TEXTS[:first]
    taken_as_written(dict(zip(KEYS, texts, strict=False)))
    taken_as_written({"backbone.weights": texts[0]})  # which excludes start


@pytest.mark.slow
@pytest.mark.parametrize("text", TEXTS)
def test_each_option_takes_each_text(text):
    taken_as_written(dict.fromkeys(KEYS, text))
    taken_as_written({"backbone.weights": text})


@pytest.mark.parametrize("key", [key for key in KEYS if key != "data.unit"])
def test_an_empty_text_is_no_value_as_of_a_variable_that_is_not_set(key):
    with pytest.raises(ConfigError, match=f"{key}= is empty: give a value, or leave it out"):
        load_config([*BASE, f"{key}="])
    assert load_config([*BASE, "data.unit="]).data.unit == ""


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_number_is_finite(value):
    with pytest.raises(ConfigError, match=r"data\.minimum=-?(nan|inf) is no finite number"):
        load_config([*BASE, f"data.minimum={value}"])


SAVED = [key for key in KEYS if key.startswith("data.")]


@pytest.mark.parametrize("first", range(0, len(TEXTS), len(SAVED)))
def test_texts_survive_being_saved(first):
    config = load_config(BASE)
    for key, text in zip(SAVED, TEXTS[first:] + TEXTS[:first], strict=False):
        setattr(config.data, key.removeprefix("data."), text)
    config.run = TEXTS[first]
    assert to_typed(to_plain(config)) == config
    assert to_typed(yaml.safe_load(yaml.safe_dump(to_plain(config)))) == config


OF_PREDICT = ("run", "input", "output", "image_column", "target_column")


@pytest.mark.parametrize("first", range(0, len(TEXTS), len(OF_PREDICT)))
def test_predict_takes_its_texts_as_written(first):
    texts = dict(zip(OF_PREDICT, TEXTS[first:] + TEXTS[:first], strict=False))
    config = load_config([f"{name}={text}" for name, text in texts.items()], "predict")
    for name, text in texts.items():
        assert getattr(config, name) == (None if text == "null" and name not in ("run", "input") else text)


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("[2023-06-14]", ["2023-06-14"]),
        ("[1.10,1e3,true,null]", ["1.10", "1e3", "true", "null"]),
        ("[ a b , 'c, d' ,\"e\",it's]", ["a b", "c, d", "e", "it's"]),
        ("[[mg/L],${x},2026_11_25]", ["[mg/L]", "${x}", "2026_11_25"]),
        ("[]", []),
    ],
)
def test_a_list_of_texts(given, values):
    assert load_config([*BASE, "split.column=day", f"split.test_values={given}"]).split.test_values == values


@pytest.mark.parametrize("given", ["a", "2023-06-14", "null", "[a,,b]", "[a", ""])
def test_a_list_of_texts_that_is_none(given):
    with pytest.raises(ConfigError, match=r"split\.test_values"):
        load_config([*BASE, "split.column=day", f"split.test_values={given}"])


@pytest.mark.parametrize("given", ["'null'", '"null"'])
def test_quotes_are_taken_off(given):
    assert load_config([*BASE, f"split.column={given}"]).split.column == "null"
    assert load_config([*BASE, "data.unit='it\\'s'"]).data.unit == "it's"
    assert load_config([*BASE, "data.unit='${x}'"]).data.unit == "${x}"


def test_a_comma_is_a_sweep_where_one_was_asked_for():
    assert prepare(["-m", "data.unit=1.10,1e3"])[1] == "data.unit='1.10','1e3'"
    assert prepare(["-m", "data.unit='a, b'"])[1] == "data.unit='a, b'"
    assert prepare(["-m", "pooling=choice(mean,masks)"])[1] == "pooling='mean','masks'"
    assert prepare(["--multirun", "split.test_values=[a,b],[1.10]"])[1] == "split.test_values=['a','b'],['1.10']"
    assert prepare(["data.unit=a,b"])[0] == "data.unit='a,b'"
    with pytest.raises(ConfigError, match="one name"):
        prepare(["-m", "run=a,b"])


def test_every_field_that_is_a_text_is_known_as_one():
    for name, command in COMMANDS.items():
        schema = OmegaConf.structured(command.options)
        texts = text_options(name)
        for key, value in flatten(OmegaConf.to_container(schema)).items():
            assert not isinstance(value, str) or key in texts or "." not in key, (name, key)
    assert {"data.table", "data.root", "backbone.weights", "classifier.backbone.weights"} <= set(text_options("train"))
    assert "seed" not in text_options("train")


def test_any_text_is_escaped_for_omegaconf():
    letters = random.Random(0)
    for _ in range(3000):
        text = "".join(letters.choices("\\${}'\"a:., ", k=letters.randrange(9)))
        assert OmegaConf.to_container(OmegaConf.create([escaped(text)]), resolve=True) == [text], text
