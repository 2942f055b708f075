//! LightGBM text models (versions 3 and 4).
//!
//! Read: one output, numeric and categorical splits, constant leaves; `gbdt`, `goss` and `dart` (whose weights are in the
//! leaves already). Column values are those that LightGBM sees: a category is its code, or its name where the file lists names.
//!
//! Rules (checked bit for bit against LightGBM 4.7, see `tests/parity`): `x <= t` in `f64`; sizes up to `1e-35f` are zero;
//! `decision_type` bit 0 is categorical, bit 1 default-left, bits 2 and 3 the missing type (0 none: NaN is zero; 1 zero:
//! zero and NaN are missing; 2 NaN); a category in the set goes left, every other one and NaN right.

use std::collections::BTreeMap;

use super::categories::{CategoryList, translate};
use super::error::at_most;
use super::recognise::{FileForm, refuse_other_forms};
use super::{
    Forest, ForestError, LIGHTGBM_ZERO, Leaf, Library, Link, RawChild, RawNode, Test, Tree,
    build_tree,
};
use crate::limits::{
    CATEGORIES_MAX, COLUMNS_MAX, FILE_BYTES_MAX, NAME_BYTES_MAX, NODES_MAX, TREES_MAX,
};

const FORMAT: &str = "lightgbm";

type Fields<'a> = BTreeMap<&'a str, &'a str>;

/// What may still be used of the caps of a forest.
struct Budget {
    nodes: usize,
    categories: usize,
}

/// Reads a LightGBM text model. Cost: linear in the file.
///
/// # Errors
///
/// [`ForestError`] if the file is too large, malformed, or of a kind whose scores cannot be reproduced.
pub fn from_text(bytes: &[u8]) -> Result<Forest, ForestError> {
    at_most("bytes of a model file", bytes.len(), FILE_BYTES_MAX)?;
    refuse_other_forms(bytes, FileForm::LightgbmText)?;
    let text = std::str::from_utf8(bytes)
        .map_err(|error| malformed("text", format!("is not UTF-8: {error}")))?;
    let mut lines = text.lines().map(str::trim_end);
    if lines.next() != Some("tree") {
        return Err(malformed("line 1", "is not \"tree\""));
    }
    let mut header = Fields::new();
    let mut blocks: Vec<Fields> = Vec::new();
    let mut complete = false;
    for line in lines.by_ref() {
        if line == "end of trees" {
            complete = true;
            break;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        if key.is_empty() {
            continue;
        }
        if key == "Tree" {
            if value.trim().parse() != Ok(blocks.len()) {
                let reason = format!("follows {} trees", blocks.len());
                return Err(malformed(format!("Tree={value}"), reason));
            }
            at_most("trees of a forest", blocks.len() + 1, TREES_MAX)?;
            blocks.push(Fields::new());
            continue;
        }
        let fields = blocks.last_mut().unwrap_or(&mut header);
        if fields.insert(key, value).is_some() {
            return Err(malformed(key, "stands twice in one part"));
        }
    }
    if !complete {
        return Err(malformed("end", "\"end of trees\" is missing: the file is cut off"));
    }
    let columns = check_header(&header, blocks.len())?;
    let column_names = names(&header, columns)?;
    let link = objective(header.get("objective").copied())?;
    let mut budget = Budget { nodes: NODES_MAX, categories: CATEGORIES_MAX };
    let mut has_covers = true;
    let mut trees = Vec::with_capacity(blocks.len());
    for (index, fields) in blocks.iter().enumerate() {
        let (tree, covers) = tree(fields, &format!("tree {index}"), columns, &mut budget)?;
        has_covers &= covers;
        trees.push(tree);
    }
    let lists = match lines.find_map(|line| line.strip_prefix("pandas_categorical:")) {
        Some(json) => pandas_categories(json, &header, columns)?,
        None => BTreeMap::new(),
    };
    let named_categories = translate(FORMAT, &mut trees, lists)?;
    Ok(Forest {
        columns,
        column_names,
        trees,
        library: Library::LightGbm,
        start: 0.0,
        link,
        has_covers,
        named_categories,
    })
}

/// A value of a pandas category, as LightGBM writes it.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum PandasValue {
    Flag(bool),
    Number(f64),
    Text(String),
}

/// The category lists of a data frame, by column. The file has them in the order of the frame's categorical columns, without saying
/// which those are; `feature_infos` says which columns were categorical (`a:b:c`, numeric ones have `[least:greatest]`).
fn pandas_categories(
    json: &str,
    header: &Fields,
    columns: usize,
) -> Result<BTreeMap<u32, CategoryList>, ForestError> {
    const PLACE: &str = "pandas_categorical";
    let lists: Option<Vec<Vec<PandasValue>>> =
        serde_json::from_str(json).map_err(|error| malformed(PLACE, error.to_string()))?;
    let lists = lists.unwrap_or_default();
    if lists.is_empty() {
        return Ok(BTreeMap::new());
    }
    let infos: Vec<&str> =
        header.get("feature_infos").copied().unwrap_or("").split_ascii_whitespace().collect();
    if infos.len() != columns {
        let reason = format!("has {} entries for {columns} columns", infos.len());
        return Err(malformed("feature_infos", reason));
    }
    let categorical: Vec<usize> = (0..columns)
        .filter(|column| infos[*column] != "none" && !infos[*column].starts_with('['))
        .collect();
    if categorical.len() != lists.len() {
        return Err(ForestError::unsupported(
            FORMAT,
            format!(
                "{} lists of pandas categories for {} categorical columns",
                lists.len(),
                categorical.len()
            ),
            "train on the codes that `detector replay --rows-out` writes, with categorical_feature",
        ));
    }
    let mut all = BTreeMap::new();
    for (column, values) in categorical.into_iter().zip(lists) {
        let texts = values.iter().filter(|value| matches!(value, PandasValue::Text(_))).count();
        let list = match texts {
            0 => CategoryList::Numbers(
                values
                    .into_iter()
                    .map(|value| match value {
                        PandasValue::Flag(flag) => f64::from(u8::from(flag)),
                        PandasValue::Number(number) => number,
                        PandasValue::Text(_) => f64::NAN,
                    })
                    .collect(),
            ),
            n if n == values.len() => CategoryList::Texts(
                values
                    .into_iter()
                    .filter_map(|value| match value {
                        PandasValue::Text(text) => Some(text),
                        _ => None,
                    })
                    .collect(),
            ),
            _ => {
                return Err(ForestError::unsupported(
                    FORMAT,
                    format!("a list of categories of column {column} with both texts and numbers"),
                    "give the column categories of one type",
                ));
            }
        };
        all.insert(column as u32, list);
    }
    Ok(all)
}

fn malformed(place: impl Into<String>, reason: impl Into<String>) -> ForestError {
    ForestError::malformed(FORMAT, place, reason)
}

/// Checks what concerns the whole model, and returns its number of columns.
fn check_header(header: &Fields, trees: usize) -> Result<usize, ForestError> {
    let unsupported = |what: String, hint| Err(ForestError::unsupported(FORMAT, what, hint));
    let version = header.get("version").copied().unwrap_or("none");
    if !matches!(version, "v3" | "v4") {
        return unsupported(format!("version {version:?}"), "save with LightGBM 3 or 4");
    }
    for key in ["num_class", "num_tree_per_iteration"] {
        let value = header.get(key).copied().unwrap_or("1");
        if value.trim() != "1" {
            return unsupported(format!("{key}={value}"), "train one model of one output");
        }
    }
    if header.contains_key("average_output") {
        return unsupported("boosting=rf".to_owned(), "train with boosting=gbdt");
    }
    let last = header.get("max_feature_idx").copied().unwrap_or("");
    let last: usize = last
        .trim()
        .parse()
        .map_err(|_| malformed("max_feature_idx", format!("{last:?} is not a whole number")))?;
    at_most("columns of a forest", last.saturating_add(1), COLUMNS_MAX)?;
    if let Some(sizes) = header.get("tree_sizes") {
        let announced = sizes.split_ascii_whitespace().count();
        if announced != trees {
            return Err(malformed("tree_sizes", format!("lists {announced} trees of {trees}")));
        }
    }
    Ok(last + 1)
}

fn names(header: &Fields, columns: usize) -> Result<Vec<String>, ForestError> {
    let Some(line) = header.get("feature_names") else { return Ok(Vec::new()) };
    let names: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
    if names.len() != columns {
        let reason = format!("{} names for {columns} columns", names.len());
        return Err(malformed("feature_names", reason));
    }
    if let Some(long) = names.iter().find(|name| name.len() > NAME_BYTES_MAX) {
        let reason = format!("a name has {} bytes, over {NAME_BYTES_MAX}", long.len());
        return Err(malformed("feature_names", reason));
    }
    Ok(names)
}

/// The link of an objective (LightGBM `ObjectiveFunction::ConvertOutput`). A custom objective writes no line.
fn objective(line: Option<&str>) -> Result<Link, ForestError> {
    let mut words = line.unwrap_or("").split_ascii_whitespace();
    let name = words.next().unwrap_or("");
    let rest: Vec<&str> = words.collect();
    let unsupported = || {
        let hint = "train with binary or regression";
        ForestError::unsupported(FORMAT, format!("objective {:?}", line.unwrap_or("")), hint)
    };
    match name {
        "binary" => {
            let scale = rest.iter().find_map(|word| word.strip_prefix("sigmoid:")).unwrap_or("1");
            let scale: f64 = scale.parse().map_err(|_| unsupported())?;
            if scale.is_finite() && scale > 0.0 {
                Ok(Link::LogisticF64 { scale })
            } else {
                Err(unsupported())
            }
        }
        "cross_entropy" => Ok(Link::LogisticF64 { scale: 1.0 }),
        "" | "custom" => Ok(Link::Identity),
        "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape"
            if !rest.contains(&"sqrt") =>
        {
            Ok(Link::Identity)
        }
        "poisson" | "gamma" | "tweedie" => Ok(Link::ExpF64),
        _ => Err(unsupported()),
    }
}

/// A list of exactly `length` numbers; the list is only as long as the file says.
fn list<T: std::str::FromStr>(
    fields: &Fields,
    key: &str,
    place: &str,
    length: usize,
) -> Result<Vec<T>, ForestError> {
    let line = fields.get(key).copied().unwrap_or("");
    let values: Result<Vec<T>, ForestError> = line
        .split_ascii_whitespace()
        .map(|word| {
            word.parse()
                .map_err(|_| malformed(place, format!("{key} holds {word:?}, which does not fit")))
        })
        .collect();
    let values = values?;
    if values.len() != length {
        let reason = format!("{key} has {} entries of {length}", values.len());
        return Err(malformed(place, reason));
    }
    Ok(values)
}

/// One tree, and whether it says how many rows came to each node.
fn tree(
    fields: &Fields,
    place: &str,
    columns: usize,
    budget: &mut Budget,
) -> Result<(Tree, bool), ForestError> {
    let count = |key: &str| -> Result<usize, ForestError> { Ok(list(fields, key, place, 1)?[0]) };
    let leaves_count = count("num_leaves")?;
    if leaves_count == 0 {
        return Err(malformed(place, "has no leaves"));
    }
    if fields.get("is_linear").is_some_and(|flag| flag.trim() != "0") {
        let hint = "train without linear_tree";
        return Err(ForestError::unsupported(FORMAT, "a tree with linear leaves", hint));
    }
    let splits = leaves_count - 1;
    let used = NODES_MAX - budget.nodes;
    at_most(
        "nodes of a forest",
        leaves_count.saturating_add(splits).saturating_add(used),
        NODES_MAX,
    )?;
    budget.nodes -= leaves_count + splits;

    let values: Vec<f64> = list(fields, "leaf_value", place, leaves_count)?;
    let has_counts = fields.contains_key("leaf_count") && fields.contains_key("internal_count");
    let covers = |key: &str, length: usize| -> Result<Vec<f64>, ForestError> {
        if has_counts && splits > 0 {
            list(fields, key, place, length)
        } else {
            Ok(vec![0.0; length])
        }
    };
    let leaf_covers = covers("leaf_count", leaves_count)?;
    let node_covers = covers("internal_count", splits)?;
    let leaves: Vec<Leaf> =
        values.iter().zip(leaf_covers).map(|(&value, cover)| Leaf { value, cover }).collect();

    let column: Vec<u32> = list(fields, "split_feature", place, splits)?;
    let threshold: Vec<f64> = list(fields, "threshold", place, splits)?;
    let decision: Vec<u8> = list(fields, "decision_type", place, splits)?;
    let left: Vec<i64> = list(fields, "left_child", place, splits)?;
    let right: Vec<i64> = list(fields, "right_child", place, splits)?;
    let (categories, sets) = category_sets(fields, place, budget)?;
    let mut nodes = Vec::with_capacity(splits);
    for index in 0..splits {
        let test = if decision[index] & 1 == 1 {
            // The threshold of a categorical split is the index of its set.
            let set = threshold[index];
            let known = set >= 0.0 && set < sets.len() as f64;
            let (start, len) = if known { sets[set as usize] } else { (0, 0) };
            if !known {
                let reason = format!("split {index} has the category set {set} of {}", sets.len());
                return Err(malformed(place, reason));
            }
            Test::InSet { start, len, in_set_left: true, missing_left: false }
        } else {
            numeric(threshold[index], decision[index])
                .ok_or_else(|| malformed(place, format!("split {index} cannot be read")))?
        };
        nodes.push(RawNode {
            column: column[index],
            test,
            left: child(left[index]),
            right: child(right[index]),
            cover: node_covers[index],
        });
    }
    let root = if splits == 0 { RawChild::Leaf(0) } else { RawChild::Node(0) };
    let tree = build_tree(FORMAT, place, columns, &nodes, &leaves, root, categories)?;
    Ok((tree, has_counts || splits == 0))
}

/// A link: the index of a split, or the complement of the index of a leaf.
fn child(link: i64) -> RawChild {
    let index = |value: i64| usize::try_from(value).unwrap_or(usize::MAX);
    if link >= 0 { RawChild::Node(index(link)) } else { RawChild::Leaf(index(!link)) }
}

/// A numeric split, with everything that the library does to a value folded into the threshold.
fn numeric(threshold: f64, decision: u8) -> Option<Test> {
    if threshold.is_nan() {
        return None;
    }
    let mut at_most = threshold as f32;
    if f64::from(at_most) > threshold {
        at_most = at_most.next_down();
    }
    // The library turns |x| <= 1e-35f into zero before it compares, so all of these go the way of zero.
    if (0.0..=LIGHTGBM_ZERO).contains(&at_most) {
        at_most = LIGHTGBM_ZERO;
    } else if (-LIGHTGBM_ZERO..0.0).contains(&at_most) {
        at_most = (-LIGHTGBM_ZERO).next_down();
    }
    let default_left = decision & 2 != 0;
    let (missing_left, zero_is_missing) = match (decision >> 2) & 3 {
        0 => (0.0 <= at_most, false),
        1 => (default_left, true),
        2 => (default_left, false),
        _ => return None,
    };
    Some(Test::AtMost { threshold: at_most, missing_left, zero_is_missing })
}

type CategorySets = (Vec<u32>, Vec<(u32, u32)>);

/// The category sets: sorted categories, and the start and length of each set.
fn category_sets(
    fields: &Fields,
    place: &str,
    budget: &mut Budget,
) -> Result<CategorySets, ForestError> {
    let sets: usize = match fields.get("num_cat") {
        None => 0,
        Some(_) => list(fields, "num_cat", place, 1)?[0],
    };
    if sets == 0 {
        return Ok((Vec::new(), Vec::new()));
    }
    let length =
        fields.get("cat_threshold").map_or(0, |line| line.split_ascii_whitespace().count());
    let words: Vec<u32> = list(fields, "cat_threshold", place, length)?;
    let bounds: Vec<usize> = list(fields, "cat_boundaries", place, sets.saturating_add(1))?;
    let mut categories = Vec::new();
    let mut ranges = Vec::with_capacity(sets);
    let mut last = 0;
    for pair in bounds.windows(2) {
        // Sets stand one after the other, so that together they are no longer than the file.
        let range = (pair[0] == last).then(|| words.get(pair[0]..pair[1])).flatten();
        let Some(range) = range else {
            return Err(malformed(place, "cat_boundaries do not fit cat_threshold"));
        };
        last = pair[1];
        let start = categories.len();
        for (at, word) in range.iter().enumerate() {
            let bits = (0..32).filter(|bit| word >> bit & 1 == 1);
            categories.extend(bits.map(|bit| at as u32 * 32 + bit));
        }
        at_most(
            "categories of a forest",
            categories.len().saturating_add(CATEGORIES_MAX - budget.categories),
            CATEGORIES_MAX,
        )?;
        ranges.push((start as u32, (categories.len() - start) as u32));
    }
    budget.categories -= categories.len();
    Ok((categories, ranges))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_take_the_largest_float_at_or_below() {
        let at_most = |threshold: f64, decision| match numeric(threshold, decision) {
            Some(Test::AtMost { threshold, .. }) => threshold,
            other => panic!("{other:?}"),
        };
        let none = 0;
        assert_eq!(at_most(0.5, none), 0.5);
        assert_eq!(at_most(0.1, none).to_bits(), 0.1f32.next_down().to_bits());
        assert_eq!(at_most(1.797e308, none), f32::MAX);
        assert_eq!(at_most(-1e300, none), f32::NEG_INFINITY);
        assert_eq!(at_most(0.0, none), LIGHTGBM_ZERO);
        assert_eq!(at_most(1.000_000_018_002_509_5e-35, none), LIGHTGBM_ZERO);
        assert_eq!(at_most(-1e-40, none), (-LIGHTGBM_ZERO).next_down());
        assert!(numeric(f64::NAN, none).is_none());
        assert!(numeric(0.0, 3 << 2).is_none());
    }

    #[test]
    fn missing_types() {
        let test = |threshold, decision| match numeric(threshold, decision) {
            Some(Test::AtMost { missing_left, zero_is_missing, .. }) => {
                (missing_left, zero_is_missing)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(test(1.0, 0), (true, false), "none: missing is zero, and 0 <= 1");
        assert_eq!(test(-1.0, 2), (false, false), "none: the default bit has no say");
        assert_eq!(test(1.0, 4), (false, true));
        assert_eq!(test(1.0, 4 | 2), (true, true));
        assert_eq!(test(1.0, 8), (false, false));
        assert_eq!(test(1.0, 8 | 2), (true, false));
    }
}
