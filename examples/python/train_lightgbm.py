"""Trains LightGBM on rows of `detector replay --rows-out` and writes a bundle for `--model`."""

import lightgbm

from bundle import Rows, arguments, average_precision, thresholds, write, write_predictions


def main():
    args = arguments(__doc__)
    rows = Rows(args.rows)
    train, valid = rows.split(args.valid_share)
    parameters = {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": 31,
        "min_data_in_leaf": 40,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "metric": "average_precision",
        "seed": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    data = lightgbm.Dataset(rows.x[train], rows.y[train], categorical_feature=rows.categorical, params=parameters)
    late = lightgbm.Dataset(rows.x[valid], rows.y[valid], reference=data)
    model = lightgbm.train(parameters, data, args.rounds, valid_sets=[late], callbacks=[lightgbm.early_stopping(40, verbose=False)])
    scores = model.predict(rows.x)
    metrics = {"average_precision": average_precision(rows.y[valid], scores[valid])}
    forest = model.model_to_string(num_iteration=model.best_iteration).encode()
    write(args.model_out, rows, "lightgbm", str(model.best_iteration), "forest.txt", forest, "lightgbm_text", thresholds(scores[valid]), metrics)
    if args.predictions_out:
        write_predictions(args.predictions_out, rows, scores)
    print(f"{model.best_iteration} trees; average precision on the {len(valid)} latest rows {metrics['average_precision']:.4f}; bundle in {args.model_out}")


if __name__ == "__main__":
    main()
