"""Trains XGBoost on rows of `detector replay --rows-out` and writes a bundle for `--model`."""

import xgboost

from bundle import Rows, arguments, average_precision, thresholds, write, write_predictions


def main():
    args = arguments(__doc__)
    rows = Rows(args.rows)
    train, valid = rows.split(args.valid_share)
    types = ["c" if i in rows.categorical else "q" for i in range(len(rows.features))]
    options = {"feature_types": types, "enable_categorical": True}
    data = xgboost.DMatrix(rows.x[train], rows.y[train], **options)
    late = xgboost.DMatrix(rows.x[valid], rows.y[valid], **options)
    parameters = {
        "objective": "binary:logistic",
        "eta": 0.05,
        "max_depth": 6,
        "min_child_weight": 5,
        "subsample": 0.8,
        "colsample_bytree": 0.7,
        "lambda": 5.0,
        "eval_metric": "aucpr",
        "tree_method": "hist",
        "seed": 1,
    }
    model = xgboost.train(parameters, data, args.rounds, evals=[(late, "late")], early_stopping_rounds=40, verbose_eval=False)
    # Only the trees up to the best round are kept, so that everybody predicts the same.
    model = model[: model.best_iteration + 1]
    scores = model.predict(xgboost.DMatrix(rows.x, **options))
    metrics = {"average_precision": average_precision(rows.y[valid], scores[valid])}
    trees = model.num_boosted_rounds()
    write(args.model_out, rows, "xgboost", str(trees), "forest.ubj", bytes(model.save_raw("ubj")), "xgboost_ubj", thresholds(scores[valid]), metrics)
    if args.predictions_out:
        write_predictions(args.predictions_out, rows, scores)
    print(f"{trees} trees; average precision on the {len(valid)} latest rows {metrics['average_precision']:.4f}; bundle in {args.model_out}")


if __name__ == "__main__":
    main()
