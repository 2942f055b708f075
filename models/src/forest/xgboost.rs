//! XGBoost models, JSON and binary JSON (UBJ), as XGBoost 1.x to 3.x and hessboost write them.
//!
//! Read: `gbtree` with one output, numeric and categorical splits, scalar leaves. After early stopping (`best_iteration` among the
//! attributes) the trees up to the best round count, as in `predict_proba`; `Booster.predict` would take all of them unless it has an
//! `iteration_range`. Column values are those that XGBoost sees: a category is its code, or its name where the file lists names.
//! What `DMatrix(missing=...)` was is in no file: train with NaN for missing values, as the detector's rows have it.
//!
//! Rules (checked bit for bit against XGBoost 3.2, see `tests/parity`): `x < t` in `f32`, NaN goes the default way, a
//! category in the node's set goes right and every other one left. The sum starts from the base margin in `f32`.

use std::collections::BTreeMap;

use super::categories::{CategoryList, translate};
use super::error::at_most;
use super::recognise::{FileForm, refuse_other_forms};
use super::xgboost_json::{CategoryValues, Document, Model, RawTree, without_nan};
use super::{
    Forest, ForestError, Leaf, Library, Link, RawChild, RawNode, Test, Tree, build_tree, ubj,
};
use crate::limits::{CATEGORIES_MAX, COLUMNS_MAX, FILE_BYTES_MAX, NODES_MAX, TREES_MAX};

const FORMAT: &str = "xgboost";

/// Least base score of a logistic objective, and its distance from 1 at the other end (XGBoost's `kRtEps`).
const PROBABILITY_MIN: f32 = 1e-6;

/// Reads an XGBoost JSON model. Cost: linear in the file.
///
/// # Errors
///
/// [`ForestError`] if the file is too large, malformed, or of a kind whose scores cannot be reproduced.
pub fn from_json(bytes: &[u8]) -> Result<Forest, ForestError> {
    at_most("bytes of a model file", bytes.len(), FILE_BYTES_MAX)?;
    refuse_other_forms(bytes, FileForm::XgboostJson)?;
    let document: Document = serde_json::from_slice(&without_nan(bytes))
        .map_err(|error| ForestError::malformed(FORMAT, "json", error.to_string()))?;
    forest(document)
}

/// Reads an XGBoost binary JSON (UBJ) model. Cost: linear in the file.
///
/// # Errors
///
/// As [`from_json`].
pub fn from_ubj(bytes: &[u8]) -> Result<Forest, ForestError> {
    at_most("bytes of a model file", bytes.len(), FILE_BYTES_MAX)?;
    refuse_other_forms(bytes, FileForm::XgboostUbj)?;
    let document: Document = ubj::from_slice(bytes)
        .map_err(|error| ForestError::malformed(FORMAT, "ubj", error.to_string()))?;
    forest(document)
}

fn forest(document: Document) -> Result<Forest, ForestError> {
    let learner = document.learner;
    let booster = learner.gradient_booster;
    if booster.name != "gbtree" {
        let hint = "train with booster = gbtree";
        return Err(ForestError::unsupported(FORMAT, format!("booster {:?}", booster.name), hint));
    }
    let parameters = learner.learner_model_param;
    let number = |name: &str, text: Option<&str>, default: usize| match text {
        None => Ok(default),
        Some(text) => text.trim().parse::<usize>().map_err(|_| {
            ForestError::malformed(FORMAT, name, format!("{text:?} is not a whole number"))
        }),
    };
    let classes = number("num_class", parameters.num_class.as_deref(), 0)?;
    let targets = number("num_target", parameters.num_target.as_deref(), 1)?;
    if classes > 1 || targets > 1 {
        return Err(ForestError::unsupported(
            FORMAT,
            format!("a model of {} outputs", classes.max(targets)),
            "train one model of one output",
        ));
    }
    let columns = number("num_feature", parameters.num_feature.as_deref(), 0)?;
    at_most("columns of a forest", columns, COLUMNS_MAX)?;
    let column_names: Vec<String> =
        learner.feature_names.0.into_iter().map(|name| name.0).collect();
    if !column_names.is_empty() && column_names.len() != columns {
        return Err(ForestError::malformed(
            FORMAT,
            "learner.feature_names",
            format!("{} names for {columns} columns", column_names.len()),
        ));
    }
    let version = (document.version.0.first().copied(), document.version.0.get(1).copied());
    let clamps = version >= (Some(3), Some(2));
    let (link, start) =
        objective(&learner.objective.name, parameters.base_score.as_deref(), clamps)?;
    let Some(model) = booster.model else {
        return Err(ForestError::malformed(FORMAT, "gradient_booster.model", "is missing"));
    };
    check_model(&model)?;
    let counted = counted_trees(&model, learner.attributes.best_iteration.as_deref())?;
    let mut trees = Vec::with_capacity(counted);
    let mut nodes_left = NODES_MAX;
    for (index, raw) in model.trees.0.iter().take(counted).enumerate() {
        let place = format!("tree {index}");
        trees.push(tree(raw, &place, columns, &mut nodes_left)?);
    }
    let mut lists = BTreeMap::new();
    for (column, values) in model.cats.enc.0.iter().enumerate() {
        if let Some(list) = category_list(column, values)? {
            lists.insert(column as u32, list);
        }
    }
    let named_categories = translate(FORMAT, &mut trees, lists)?;
    Ok(Forest {
        columns,
        column_names,
        trees,
        library: Library::XgBoost,
        start,
        link,
        has_covers: model.trees.0.iter().all(|raw| !raw.sum_hessian.0.is_empty()),
        named_categories,
    })
}

/// How many trees, from the first, make the prediction: all, or those up to the best round of early stopping.
fn counted_trees(model: &Model, best_iteration: Option<&str>) -> Result<usize, ForestError> {
    let all = model.trees.0.len();
    let Some(text) = best_iteration else { return Ok(all) };
    let malformed = |place: &str, reason: String| ForestError::malformed(FORMAT, place, reason);
    let best: usize = text.trim().parse().map_err(|_| {
        malformed("attributes.best_iteration", format!("{text:?} is not a whole number"))
    })?;
    let starts = &model.iteration_indptr.0;
    let end = if starts.is_empty() {
        let parallel =
            model.gbtree_model_param.as_ref().and_then(|p| p.num_parallel_tree.as_deref());
        let parallel = parallel.unwrap_or("1").trim();
        let parallel: usize = parallel.parse().map_err(|_| {
            malformed("num_parallel_tree", format!("{parallel:?} is not a whole number"))
        })?;
        best.saturating_add(1).saturating_mul(parallel)
    } else {
        let whole = starts.first() == Some(&0)
            && starts.last().copied() == i64::try_from(all).ok()
            && starts.is_sorted();
        if !whole {
            let reason = format!("does not lead from tree 0 to tree {all}");
            return Err(malformed("iteration_indptr", reason));
        }
        let end = starts.get(best.saturating_add(1)).copied();
        end.and_then(|end| usize::try_from(end).ok()).unwrap_or(all)
    };
    Ok(end.min(all))
}

/// The category list of a column, if it has one.
fn category_list(
    column: usize,
    values: &CategoryValues,
) -> Result<Option<CategoryList>, ForestError> {
    let malformed = |reason: &str| {
        ForestError::malformed(FORMAT, format!("cats of column {column}"), reason.to_owned())
    };
    let Some(offsets) = &values.offsets else {
        return Ok(Some(CategoryList::Numbers(values.values.0.clone())));
    };
    if offsets.0.len() < 2 {
        return Ok(None);
    }
    let byte = |value: &f64| match *value {
        v if v.fract() == 0.0 && (-128.0..256.0).contains(&v) => {
            Ok((v as i16).rem_euclid(256) as u8)
        }
        _ => Err(malformed("a text holds what is no byte")),
    };
    let bytes: Vec<u8> = values.values.0.iter().map(byte).collect::<Result<_, _>>()?;
    let mut texts = Vec::with_capacity(offsets.0.len() - 1);
    for pair in offsets.0.windows(2) {
        let range = usize::try_from(pair[0]).ok().zip(usize::try_from(pair[1]).ok());
        let text = range.and_then(|(from, to)| bytes.get(from..to));
        let text = text.ok_or_else(|| malformed("texts lie outside of their bytes"))?;
        let text = std::str::from_utf8(text).map_err(|_| malformed("a text is not UTF-8"))?;
        texts.push(text.to_owned());
    }
    Ok(Some(CategoryList::Texts(texts)))
}

/// Refuses what the sum of plain trees does not reproduce.
fn check_model(model: &Model) -> Result<(), ForestError> {
    at_most("trees of a forest", model.trees.0.len(), TREES_MAX)?;
    if model.tree_info.0.iter().any(|&group| group != 0) {
        let hint = "train one model of one output";
        return Err(ForestError::unsupported(FORMAT, "a tree of another output", hint));
    }
    if let Some(weights) = &model.weight_drop
        && weights.0.iter().any(|&weight| weight.to_bits() != 1.0f32.to_bits())
    {
        let hint = "train without dropout (booster = gbtree)";
        return Err(ForestError::unsupported(FORMAT, "a weight per tree (dart)", hint));
    }
    if let Some(parameters) = &model.gbtree_model_param
        && let Some(text) = &parameters.num_trees
        && text.trim().parse::<usize>() != Ok(model.trees.0.len())
    {
        return Err(ForestError::malformed(
            FORMAT,
            "gbtree_model_param.num_trees",
            format!("says {text:?}, but the file has {} trees", model.trees.0.len()),
        ));
    }
    Ok(())
}

/// The link, and the base margin in `f32`, of an objective (XGBoost `ObjFunction::ProbToMargin`). From 3.2 on (`clamps`) XGBoost moves a
/// probability into 1e-6 to 1 - 1e-6 first, and so takes the base scores 0 and 1 of labels of one class.
fn objective(
    name: &str,
    base_score: Option<&str>,
    clamps: bool,
) -> Result<(Link, f32), ForestError> {
    let text = base_score.unwrap_or("0.5").trim();
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text).trim();
    let malformed = |reason: &str| {
        ForestError::malformed(
            FORMAT,
            "learner_model_param.base_score",
            format!("{text:?} {reason}"),
        )
    };
    let base: f32 = inner.parse().map_err(|_| malformed("is not one number"))?;
    if !base.is_finite() {
        return Err(malformed("is not finite"));
    }
    let logit = || {
        let base = if clamps && (0.0..=1.0).contains(&base) {
            base.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN)
        } else {
            base
        };
        if base > 0.0 && base < 1.0 {
            Ok(-(1.0f32 / base - 1.0).ln())
        } else {
            Err(malformed("must lie between 0 and 1"))
        }
    };
    let log = || if base > 0.0 { Ok(base.ln()) } else { Err(malformed("must be above 0")) };
    match name {
        "binary:logistic" | "reg:logistic" => Ok((Link::LogisticF32, logit()?)),
        // XGBoost 3.2 takes logitraw's base as a margin already.
        "binary:logitraw" | "reg:squarederror" | "reg:absoluteerror" | "reg:pseudohubererror" => {
            Ok((Link::Identity, base))
        }
        "count:poisson" | "reg:gamma" | "reg:tweedie" => Ok((Link::ExpF32, log()?)),
        other => Err(ForestError::unsupported(
            FORMAT,
            format!("objective {other:?}"),
            "train with binary:logistic or reg:squarederror",
        )),
    }
}

fn tree(
    raw: &RawTree,
    place: &str,
    columns: usize,
    nodes_left: &mut usize,
) -> Result<Tree, ForestError> {
    let malformed = |reason: String| ForestError::malformed(FORMAT, place, reason);
    let count = raw.left_children.0.len();
    at_most("nodes of a forest", count.saturating_add(NODES_MAX - *nodes_left), NODES_MAX)?;
    *nodes_left -= count;
    if let Some(parameters) = &raw.tree_param
        && let Some(size) = &parameters.size_leaf_vector
        && !matches!(size.trim(), "0" | "1")
    {
        let hint = "train with multi_strategy = one_output_per_tree";
        return Err(ForestError::unsupported(FORMAT, format!("leaves of {size} values"), hint));
    }
    let lengths = [
        ("right_children", raw.right_children.0.len(), false),
        ("split_indices", raw.split_indices.0.len(), false),
        ("split_conditions", raw.split_conditions.0.len(), false),
        ("default_left", raw.default_left.0.len(), false),
        ("split_type", raw.split_type.0.len(), true),
        ("sum_hessian", raw.sum_hessian.0.len(), true),
    ];
    for (name, length, may_be_absent) in lengths {
        if length != count && !(may_be_absent && length == 0) {
            return Err(malformed(format!("{name} has {length} entries for {count} nodes")));
        }
    }
    if count == 0 {
        return Err(malformed("has no nodes".to_owned()));
    }
    let (categories, segments) = categories(raw, count).map_err(malformed)?;
    let mut nodes = Vec::with_capacity(count / 2);
    let mut leaves = Vec::with_capacity(count / 2 + 1);
    let links: Vec<RawChild> = raw
        .left_children
        .0
        .iter()
        .scan((0, 0), |(splits, ends), &left| {
            let counter = if left == -1 { &mut *ends } else { &mut *splits };
            let number = *counter;
            *counter += 1;
            Some(if left == -1 { RawChild::Leaf(number) } else { RawChild::Node(number) })
        })
        .collect();
    let link = |child: i64| {
        usize::try_from(child)
            .ok()
            .and_then(|child| links.get(child).copied())
            .ok_or_else(|| malformed(format!("node {child} is linked, but there are {count}")))
    };
    for index in 0..count {
        let cover = raw.sum_hessian.0.get(index).map_or(0.0, |&cover| f64::from(cover));
        let condition = raw.split_conditions.0[index].0;
        if raw.left_children.0[index] == -1 {
            leaves.push(Leaf { value: f64::from(condition), cover });
            continue;
        }
        let missing_left = raw.default_left.0[index].0;
        let test = match raw.split_type.0.get(index).copied().unwrap_or(0) {
            0 if condition.is_nan() => {
                return Err(malformed(format!("split {index} has no threshold")));
            }
            0 => Test::AtMost { threshold: below(condition), missing_left, zero_is_missing: false },
            1 => {
                let &(start, len) = segments.get(&index).ok_or_else(|| {
                    malformed(format!("categorical split {index} has no categories"))
                })?;
                Test::InSet { start, len, in_set_left: false, missing_left }
            }
            other => return Err(malformed(format!("split {index} has the split_type {other}"))),
        };
        let column = u32::try_from(raw.split_indices.0[index])
            .map_err(|_| malformed(format!("split {index} asks a column that cannot be")))?;
        nodes.push(RawNode {
            column,
            test,
            left: link(raw.left_children.0[index])?,
            right: link(raw.right_children.0[index])?,
            cover,
        });
    }
    build_tree(FORMAT, place, columns, &nodes, &leaves, links[0], categories)
}

/// The greatest float below `t`, so that `x <= below(t)` is `x < t`; NaN (never) below negative infinity.
fn below(t: f32) -> f32 {
    if t == f32::NEG_INFINITY { f32::NAN } else { t.next_down() }
}

type Segments = std::collections::BTreeMap<usize, (u32, u32)>;

/// The category sets, each sorted, and where each categorical node has its own.
fn categories(raw: &RawTree, count: usize) -> Result<(Vec<u32>, Segments), String> {
    let nodes = &raw.categories_nodes.0;
    if raw.categories_segments.0.len() != nodes.len() || raw.categories_sizes.0.len() != nodes.len()
    {
        return Err("the arrays of categories differ in length".to_owned());
    }
    if raw.categories.0.len() > CATEGORIES_MAX {
        return Err(format!("more than {CATEGORIES_MAX} categories"));
    }
    let mut all: Vec<u32> = Vec::with_capacity(raw.categories.0.len());
    let mut segments = Segments::new();
    for (slot, &node) in nodes.iter().enumerate() {
        let wrong = || format!("categories of node {node} lie outside of the file's");
        let node_index = usize::try_from(node).ok().filter(|&n| n < count).ok_or_else(wrong)?;
        let start = usize::try_from(raw.categories_segments.0[slot]).map_err(|_| wrong())?;
        let size = usize::try_from(raw.categories_sizes.0[slot]).map_err(|_| wrong())?;
        let end = start.checked_add(size).ok_or_else(wrong)?;
        let set = raw.categories.0.get(start..end).ok_or_else(wrong)?;
        // Sets are disjoint in a sound file, so that copying them cannot grow beyond it.
        if all.len() + size > raw.categories.0.len() {
            return Err("category sets overlap".to_owned());
        }
        let own = all.len();
        for &category in set {
            let category = u32::try_from(category).ok().filter(|&c| c < 1 << 24);
            all.push(category.ok_or_else(|| format!("node {node} has an invalid category"))?);
        }
        all[own..].sort_unstable();
        if segments.insert(node_index, (own as u32, size as u32)).is_some() {
            return Err(format!("node {node} has two category sets"));
        }
    }
    Ok((all, segments))
}
