"""Writes small models, rows, and what the libraries themselves say of those rows.

    python -m venv /tmp/parity && /tmp/parity/bin/pip install -r requirements.txt
    /tmp/parity/bin/python make_fixtures.py

Each case is a model file and `<case>.rows`. Its first line is the number of columns. Every further line is a row:
the columns as hexadecimal bits of f32, `|`, the raw margin and the prediction (bits of f32 for XGBoost, of f64 for
LightGBM); the first lines also have `|` and the library's contributions, one per column and the base last.
"""

import json
import pathlib
import struct

import lightgbm
import numpy
import xgboost

OUT = pathlib.Path(__file__).parent / "fixtures"
ROWS = 160
EXPLAINED = 8
CATEGORIES = 45


def data(seed, missing=0.1, categorical=(), zeros=0.0):
    random = numpy.random.default_rng(seed)
    x = random.normal(size=(1500, 6)).astype(numpy.float32)
    for column in categorical:
        x[:, column] = random.integers(0, CATEGORIES, len(x))
    signal = numpy.nan_to_num(x[:, 0]) * x[:, 1] + x[:, 2]
    for column in categorical:
        signal = signal + 1.5 * (x[:, column] % 7 < 3)
    y = (signal + random.normal(size=len(x)) > 0.8).astype(int)
    x[random.random(x.shape) < zeros] = 0.0
    x[random.random(x.shape) < missing] = numpy.nan
    return x, y, signal


def rows(x, thresholds, categorical=(), seed=7):
    """Rows of the data, then rows made of awkward values: thresholds and their neighbours, infinities, tiny numbers."""
    random = numpy.random.default_rng(seed)
    thresholds = numpy.asarray(thresholds, dtype=numpy.float64).astype(numpy.float32)
    up = numpy.nextafter(thresholds, numpy.float32(numpy.inf), dtype=numpy.float32)
    down = numpy.nextafter(thresholds, numpy.float32(-numpy.inf), dtype=numpy.float32)
    special = [numpy.nan, numpy.inf, -numpy.inf, 0.0, -0.0, 1e-35, -1e-35, 1e-36, -1e-36, 2e-35, -2e-35, 1e-45, 3e38, -3e38]
    pool = numpy.concatenate([thresholds, up, down, numpy.repeat(numpy.array(special, numpy.float32), 3)])
    awkward = random.choice(pool, size=(ROWS // 2, x.shape[1]))
    unseen = numpy.array([numpy.nan, -1, -0.5, -1e-36, 0, 0.5, 31, 31.9, 32, 44, 63, 64, 1000, 2**24 - 1, 2**24, 2**31, 1e30, numpy.inf, -numpy.inf], numpy.float32)
    for column in categorical:
        awkward[:, column] = random.choice(unseen, len(awkward))
    return numpy.vstack([x[: ROWS // 2], awkward]).astype(numpy.float32)


def bits(value, double):
    return struct.pack(">d", value).hex() if double else struct.pack(">f", value).hex()


def write(case, x, margin, prediction, contributions, double):
    lines = [str(x.shape[1])]
    for i, row in enumerate(x):
        line = " ".join(bits(v, False) for v in row)
        line += f" | {bits(margin[i], double)} {bits(prediction[i], double)}"
        if i < EXPLAINED:
            line += " | " + " ".join(repr(float(v)) for v in contributions[i])
        lines.append(line)
    (OUT / f"{case}.rows").write_text("\n".join(lines) + "\n")


def lgb(case, rounds=10, categorical=(), target="binary", missing=0.1, zeros=0.0, **parameters):
    x, y, signal = data(sum(map(ord, case)), missing, categorical, zeros)
    label = {"binary": y, "value": signal, "count": numpy.abs(numpy.round(signal))}[target]
    parameters = dict(objective="binary", num_leaves=12, learning_rate=0.2, verbose=-1, num_threads=1, deterministic=True, seed=1, min_data_per_group=5, cat_smooth=1) | parameters
    dataset = lightgbm.Dataset(x, label, categorical_feature=list(categorical), feature_name=[f"c{i}" for i in range(x.shape[1])], params=parameters)
    model = lightgbm.train(parameters, dataset, rounds)
    text = model.model_to_string()
    (OUT / f"{case}.txt").write_text(text.split("\nparameters:")[0] + "\n")
    thresholds = [float(t) for line in text.splitlines() if line.startswith("threshold=") for t in line[10:].split()]
    test = rows(x, thresholds, categorical)
    margin, prediction = model.predict(test, raw_score=True), model.predict(test)
    write(case, test, margin, prediction, model.predict(test[:EXPLAINED], pred_contrib=True), True)


def conditions(model):
    trees = json.loads(model.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
    return [value for tree in trees for value in tree["split_conditions"]]


def xgb(case, rounds=8, categorical=(), target="binary", missing=0.1, formats=("json",), **parameters):
    x, y, signal = data(sum(map(ord, case)), missing, categorical)
    label = {"binary": y, "value": signal, "count": numpy.abs(numpy.round(signal))}[target]
    types = ["c" if i in categorical else "q" for i in range(x.shape[1])]
    names = [f"c{i}" for i in range(x.shape[1])]
    options = dict(feature_types=types, feature_names=names, enable_categorical=True, nthread=1)
    parameters = dict(objective="binary:logistic", max_depth=4, eta=0.3, nthread=1, seed=1) | parameters
    model = xgboost.train(parameters, xgboost.DMatrix(x, label, **options), rounds)
    for form in formats:
        model.save_model(OUT / f"{case}.{form}")
    thresholds = conditions(model)
    test = rows(x, thresholds, categorical)
    margin = model.inplace_predict(test, predict_type="margin", validate_features=False)
    prediction = model.inplace_predict(test, validate_features=False)
    write(case, test, margin, prediction, model.predict(xgboost.DMatrix(test[:EXPLAINED], **options), pred_contribs=True), False)


def hess(case):
    """Rows for a model that hessboost 0.4.6 (a Rust library that writes XGBoost's formats) made: binary:logistic, 8
    trees of depth 4, saved as `XgboostJson` and `XgboostUbjson`. It is kept, not made here; XGBoost scores it."""
    model = xgboost.Booster(model_file=OUT / f"{case}.json")
    thresholds = conditions(model)
    x, _, _ = data(99)
    test = rows(x, thresholds)
    margin = model.inplace_predict(test, predict_type="margin", validate_features=False)
    prediction = model.inplace_predict(test, validate_features=False)
    contributions = model.predict(xgboost.DMatrix(test[:EXPLAINED]), pred_contribs=True)
    write(case, test, margin, prediction, contributions, False)


OUT.mkdir(exist_ok=True)
lgb("lgb_numeric")
lgb("lgb_no_missing", missing=0.0)
lgb("lgb_zero_as_missing", zeros=0.3, zero_as_missing=True)
lgb("lgb_many_zeros", zeros=0.6, missing=0.0)
lgb("lgb_categorical", categorical=(3, 4), max_cat_to_onehot=1)
lgb("lgb_categorical_onehot", categorical=(3, 4), max_cat_to_onehot=64)
lgb("lgb_categorical_zero", categorical=(4,), zeros=0.2, zero_as_missing=True)
lgb("lgb_regression", target="value", objective="regression")
lgb("lgb_sigmoid", sigmoid=0.7, rounds=6)
lgb("lgb_cross_entropy", objective="cross_entropy", rounds=6)
lgb("lgb_poisson", target="count", objective="poisson", rounds=6)
lgb("lgb_dart", boosting="dart", drop_rate=0.5)
lgb("lgb_wide", num_leaves=60, min_data_in_leaf=5, rounds=4)
lgb("lgb_large", num_leaves=150, min_data_in_leaf=2, rounds=3)
lgb("lgb_stump", num_leaves=2, rounds=3)
xgb("xgb_numeric", formats=("json", "ubj"))
xgb("xgb_no_missing", missing=0.0)
xgb("xgb_partition", categorical=(3, 4), max_cat_to_onehot=1, formats=("json", "ubj"))
xgb("xgb_onehot", categorical=(3, 4), max_cat_to_onehot=100, formats=("json", "ubj"))
xgb("xgb_wide", max_depth=0, max_leaves=60, grow_policy="lossguide", min_child_weight=0.1, rounds=4)
xgb("xgb_large", max_depth=9, min_child_weight=0, rounds=3, formats=("ubj",))
for i, base in enumerate((0.5, 0.011, 0.3, 0.73, 0.999)):
    xgb(f"xgb_base_{i}", base_score=base, rounds=3, max_depth=3)
xgb("xgb_logitraw", objective="binary:logitraw", base_score=0.2, rounds=3)
xgb("xgb_regression", target="value", objective="reg:squarederror", rounds=6)
xgb("xgb_poisson", target="count", objective="count:poisson", rounds=4)
xgb("xgb_absolute", target="value", objective="reg:absoluteerror", rounds=3)
hess("hessboost")
