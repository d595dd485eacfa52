from twostage.evaluation.remarks import remarks

GOOD = {"rmse": 1.0, "rmse_mean_baseline": 70.0, "rmse_colour_baseline": 3.0, "n_test": 400, "n_refused": 0}


def test_a_good_run_with_many_test_photographs_needs_no_remark():
    assert remarks(GOOD, None) == []
    assert remarks(GOOD, 40) == []


def test_a_model_no_better_than_the_mean_is_told():
    (said,) = remarks(GOOD | {"rmse": 17.1, "rmse_mean_baseline": 15.35}, None)
    assert said.startswith("no better than the mean of the training targets (RMSE 17.1 and 15.3")


def test_on_a_logarithmic_scale_decades_decide():
    decades = {"rmse_decades": 0.01, "rmse_mean_baseline_decades": 1.5, "rmse_colour_baseline_decades": 0.1}
    good = GOOD | {"rmse": 90.0} | decades
    assert remarks(good, None) == []
    assert "no better" in remarks(good | {"rmse": 1.0, "rmse_decades": 1.6}, None)[0]


def test_a_simple_method_that_is_better_is_named():
    (said,) = remarks(GOOD | {"rmse_colour_baseline": 0.5}, None)
    assert said.startswith("a ridge regression over colour statistics is as good or better (RMSE 0.5 and 1)")


def test_few_photographs_or_specimens_are_told():
    assert remarks(GOOD | {"n_test": 5}, None)[0].startswith("5 test photographs say little")
    assert remarks(GOOD | {"n_test": 1}, None)[0].startswith("1 test photograph says little")
    assert remarks(GOOD | {"n_test": 40, "n_refused": 20}, None)[0].startswith("20 test photographs say little")
    assert remarks(GOOD, 4)[0].startswith("400 test photographs of 4 specimens say little")
    assert "crossval" in remarks(GOOD, 4)[0]
