"""Writes models as people save them from data frames and from the scikit-learn interface, and what the libraries say of rows.

    python -m venv /tmp/frames && /tmp/frames/bin/pip install -r requirements.txt pandas==3.1.1 scikit-learn==1.9.1
    /tmp/frames/bin/python make_frame_fixtures.py
    python -m venv /tmp/older && /tmp/older/bin/pip install xgboost==2.1.4 numpy==2.4.6
    /tmp/older/bin/python make_frame_fixtures.py          with XGBoost 2: only the file that has NaN in it

The form of `<case>.rows` is that of `make_fixtures.py`. Column c0 is a category; in the rows it is the code that the detector would
have, that is the place in DECLARED (texts) or the number itself.
"""

import pathlib
import struct

import numpy
import xgboost

OUT = pathlib.Path(__file__).parent / "fixtures"
ROWS = 120
DECLARED = ["ZA", "US", "NL", "GB", "FR", "DE", "BE"]
NUMBERS = [9, 2, 0, 5, 3]


def bits(value, double):
    return struct.pack(">d", value).hex() if double else struct.pack(">f", value).hex()


def write(case, x, margin, prediction, double):
    lines = [str(x.shape[1])]
    for i, row in enumerate(x):
        lines.append(" ".join(bits(v, False) for v in row) + f" | {bits(margin[i], double)} {bits(prediction[i], double)}")
    (OUT / f"{case}.rows").write_text("\n".join(lines) + "\n")


def data(seed, codes):
    """Codes and two numbers, some of them missing, and labels that all three matter for."""
    random = numpy.random.default_rng(seed)
    x = random.normal(size=(900, 3)).astype(numpy.float32)
    x[:, 0] = random.choice(codes, len(x))
    y = ((x[:, 0] % 3 == 1) ^ (x[:, 1] + 0.3 * x[:, 2] > 0)) ^ (random.random(len(x)) < 0.1)
    x[random.random(x.shape) < 0.08] = numpy.nan
    return x, y.astype(int)


def older():
    x, y = data(21, range(8))
    options = dict(feature_types=["c", "q", "q"], feature_names=["c0", "c1", "c2"], enable_categorical=True, nthread=1)
    model = xgboost.train(dict(objective="binary:logistic", max_depth=4, nthread=1), xgboost.DMatrix(x, y, **options), 6)
    model.save_model(OUT / "xgb2_categorical.json")
    assert "NaN" in (OUT / "xgb2_categorical.json").read_text()
    test = xgboost.DMatrix(x[:ROWS], **options)
    write("xgb2_categorical", x[:ROWS], model.predict(test, output_margin=True), model.predict(test), False)


def newer():
    import lightgbm
    import pandas

    def frame(x, values):
        """The codes of the first column as a category of values; `values` gives the list's order."""
        known = {float(i): v for i, v in enumerate(DECLARED)} if isinstance(values[0], str) else {float(v): v for v in values}
        listed = [value if value in values else None for value in (known.get(float(v)) for v in x[:, 0])]
        column = pandas.Categorical(listed, categories=values)
        return pandas.DataFrame({"c0": column, "c1": x[:, 1], "c2": x[:, 2]})

    texts, numbers = ["BE", "NL", "DE", "FR", "ZA", "GB", "US"], NUMBERS
    for name, values, codes in (("text", texts, range(7)), ("number", numbers, numbers)):
        x, y = data(len(name), codes)
        rows = frame(x, values)
        model = xgboost.XGBClassifier(n_estimators=6, max_depth=4, enable_categorical=True, n_jobs=1).fit(rows, y)
        for form in ("json", "ubj"):
            model.save_model(OUT / f"xgb_{name}_categories.{form}")
        write(f"xgb_{name}_categories", x[:ROWS], model.predict(rows[:ROWS], output_margin=True), model.predict_proba(rows[:ROWS])[:, 1], False)
        # One value is not in the list, and so missing to the library.
        rows = frame(x, [v for v in values if v not in ("FR", 5)])
        model = lightgbm.LGBMClassifier(n_estimators=8, num_leaves=9, verbose=-1, n_jobs=1, min_data_per_group=2, cat_smooth=1).fit(rows, y)
        model.booster_.save_model(OUT / f"lgb_{name}_categories.txt")
        write(f"lgb_{name}_categories", x[:ROWS], model.predict(rows[:ROWS], raw_score=True), model.predict_proba(rows[:ROWS])[:, 1], True)

    x, y = data(5, [0, 1, 2])
    for name, parallel in (("early", 1), ("early_parallel", 3)):
        model = xgboost.XGBClassifier(n_estimators=60, max_depth=3, learning_rate=0.6, early_stopping_rounds=4, num_parallel_tree=parallel, subsample=0.7, random_state=3, n_jobs=1)
        model.fit(x[:600], y[:600], eval_set=[(x[600:], y[600:])], verbose=False)
        assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
        model.save_model(OUT / f"xgb_{name}.json")
        write(f"xgb_{name}", x[:ROWS], model.predict(x[:ROWS], output_margin=True), model.predict_proba(x[:ROWS])[:, 1], False)
    for name, base, labels in (("near_0", 1e-8, y), ("near_1", 0.99999995, y), ("all_good", None, y * 0), ("all_bad", None, y * 0 + 1)):
        parameters = dict(objective="binary:logistic", max_depth=3, nthread=1) | ({} if base is None else dict(base_score=base))
        model = xgboost.train(parameters, xgboost.DMatrix(x, labels), 2)
        model.save_model(OUT / f"xgb_{name}.json")
        write(f"xgb_{name}", x[:ROWS], model.inplace_predict(x[:ROWS], predict_type="margin"), model.inplace_predict(x[:ROWS]), False)
    for name, labels in (("all_good", y * 0), ("all_bad", y * 0 + 1)):
        model = lightgbm.train(dict(objective="binary", verbose=-1, num_threads=1), lightgbm.Dataset(x, labels), 3)
        model.save_model(OUT / f"lgb_{name}.txt")
        write(f"lgb_{name}", x[:ROWS], model.predict(x[:ROWS], raw_score=True), model.predict(x[:ROWS]), True)


older() if xgboost.__version__.startswith("2.") else newer()
