"""Rows of `detector replay --rows-out` in, a model bundle that the detector loads out."""

import argparse
import hashlib
import json
import pathlib

import numpy
import pandas
import pyarrow.parquet

LEADING = ["event_id", "account", "ts", "type", "label", "known_bad"]


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rows", required=True, help="what `detector replay --rows-out` wrote")
    parser.add_argument("--model-out", required=True, help="folder of the bundle; made if need be")
    parser.add_argument("--rounds", type=int, default=300, help="trees at most")
    parser.add_argument("--valid-share", type=float, default=0.2, help="the latest rows, to stop and to choose thresholds by")
    parser.add_argument("--predictions-out", help="a line per row with the library's own prediction, to compare with")
    return parser.parse_args()


class Rows:
    """The rows of a file, and what its metadata says about them."""

    def __init__(self, path):
        table = pyarrow.parquet.read_table(path)
        said = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        self.feature_set_hash = said["detector.feature_set_hash"]
        self.strict_ties = said["detector.strict_ties"]
        self.no_feedback = said["detector.no_feedback"]
        self.features = [name for name in table.column_names if name not in LEADING]
        categorical = set(json.loads(said["detector.categorical"]))
        self.categorical = [i for i, name in enumerate(self.features) if name in categorical]
        self.about = table.select(LEADING).to_pandas()
        self.x = numpy.column_stack([table[name].to_numpy() for name in self.features])
        # What happens after an account was found out is no news, and would not be scored for its own sake.
        learnable = self.about["label"].notna()
        if said["detector.label_unit"] == "account":
            learnable &= ~self.about["known_bad"]
        self.learnable = learnable.to_numpy()
        self.y = self.about["label"].fillna(0).to_numpy().astype(numpy.float32)

    def split(self, valid_share):
        """Indices of the rows to learn from and of later ones to choose by: the future never teaches the past."""
        rows = numpy.flatnonzero(self.learnable)
        ts = self.about["ts"].to_numpy()
        rows = rows[numpy.argsort(ts[rows], kind="stable")]
        if len(rows) < 100:
            raise SystemExit(f"only {len(rows)} rows have a label; give --labels to `detector replay`")
        cut = ts[rows[int(len(rows) * (1 - valid_share))]]
        train, valid = rows[ts[rows] < cut], rows[ts[rows] >= cut]
        for name, part in (("early", train), ("late", valid)):
            if self.y[part].sum() == 0 or self.y[part].sum() == len(part):
                raise SystemExit(f"the {name} rows are all good or all bad; a longer stream is needed")
        return train, valid


def thresholds(scores):
    """Alert budgets: the share of events that each action may be taken on, as the scores of late rows have it."""
    budgets = {"challenge": 0.02, "review": 0.01, "suspend": 0.003, "ban": 0.001}
    scores = numpy.sort(scores.astype(numpy.float64))
    at = {name: float(scores[int((1 - share) * (len(scores) - 1))]) for name, share in budgets.items()}
    return {name: min(max(value, 0.0), 1.0) for name, value in at.items()}


def average_precision(y, scores):
    """Area under precision and recall without interpolation; equal scores count as one step."""
    order = numpy.argsort(-scores, kind="stable")
    y, scores = y[order], scores[order]
    last = numpy.append(numpy.flatnonzero(numpy.diff(scores)), len(scores) - 1)
    caught = numpy.cumsum(y)[last]
    gain = numpy.diff(caught, prepend=0)
    return float((gain * caught / (last + 1)).sum() / y.sum())


def text(value):
    return json.dumps(value, ensure_ascii=False)


def write(folder, rows, name, version, file, model, form, chosen, metrics):
    """Writes `model.toml` and the forest; the manifest last, so that half a bundle is not taken for a whole one."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "model.toml"
    manifest.unlink(missing_ok=True)
    (folder / file).write_bytes(model)
    lines = [
        "format = 1",
        f"name = {text(name)}",
        f"version = {text(version)}",
        'kind = "forest"',
        f"feature_set_hash = {text(rows.feature_set_hash)}",
        "features = [",
        *[f"  {text(feature)}," for feature in rows.features],
        "]",
        "",
        "[forest]",
        f"file = {text(file)}",
        f"format = {text(form)}",
        "",
        "[thresholds]",
        *[f"{key} = {value!r}" for key, value in chosen.items()],
        "",
        # The detector scores a model as it was trained: these two switch it over by themselves.
        "[training]",
        f"strict_ties = {text(rows.strict_ties)}",
        f"no_feedback = {text(rows.no_feedback)}",
        # Nothing up to here is new to the model: `detector evaluate` warns when it is measured on it.
        f"until_ms = {int(rows.about['ts'][rows.learnable].max())}",
        f"rows = {int(rows.learnable.sum())}",
        f"bad = {int(rows.y[rows.learnable].sum())}",
        "",
        "[metrics]",
        *[f"{key} = {float(value)!r}" for key, value in metrics.items()],
        "",
        "[sha256]",
        f"{text(file)} = {text(hashlib.sha256(model).hexdigest())}",
        "",
    ]
    manifest.write_text("\n".join(lines), encoding="utf-8")


def write_predictions(path, rows, scores):
    """Predictions as the detector writes scores: 32-bit floats."""
    out = pandas.DataFrame({"event_id": rows.about["event_id"], "account": rows.about["account"], "score": scores.astype(numpy.float32).astype(numpy.float64)})
    with open(path, "w", encoding="utf-8") as file:
        for event_id, account, score in out.itertuples(index=False):
            file.write(json.dumps({"event_id": event_id, "account": account, "score": score}) + "\n")
