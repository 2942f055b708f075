//! Random forests as their libraries would write them, and a naive reading of the libraries' rules to check against.
#![allow(dead_code)] // Each test uses a part.

use proptest::prelude::*;

pub const COLUMNS: usize = 5;
const TINY: f64 = 1e-35f32 as f64;

/// A split as LightGBM or XGBoost would learn it.
#[derive(Debug, Clone)]
pub struct Split {
    pub column: usize,
    pub threshold: f64,
    /// LightGBM's missing type: 0 none, 1 zero, 2 NaN.
    pub missing: u8,
    pub default_left: bool,
    /// Categories of a categorical split.
    pub set: Option<Vec<u32>>,
}

#[derive(Debug, Clone)]
pub enum Tree {
    Leaf { value: f64, cover: u32 },
    Split { split: Split, left: Box<Tree>, right: Box<Tree> },
}

impl Tree {
    pub fn cover(&self) -> u32 {
        match self {
            Tree::Leaf { cover, .. } => *cover,
            Tree::Split { left, right, .. } => left.cover() + right.cover(),
        }
    }

    fn leaf(&self, goes_left: &dyn Fn(&Split) -> bool) -> f64 {
        match self {
            Tree::Leaf { value, .. } => *value,
            Tree::Split { split, left, right } => {
                if goes_left(split) {
                    left.leaf(goes_left)
                } else {
                    right.leaf(goes_left)
                }
            }
        }
    }
}

/// Values that splits are tried at: rows are made of these, so that they often meet a threshold exactly.
pub const AWKWARD: [f32; 24] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    -0.1,
    0.5,
    2.5,
    1e-35,
    -1e-35,
    1e-36,
    -1e-36,
    2e-35,
    -2e-35,
    1e-45,
    -1e-45,
    3.4e38,
    -3.4e38,
    31.0,
    32.0,
    40.9,
    -0.7,
    16_777_216.0,
    1e10,
];

fn split() -> impl Strategy<Value = Split> {
    let threshold = prop_oneof![
        4 => prop::sample::select(&AWKWARD[..]).prop_map(f64::from),
        1 => prop::sample::select(&AWKWARD[..]).prop_map(|t| f64::from(t) * (1.0 - 1e-12)),
        1 => -3.0..3.0f64,
    ];
    let set = prop::option::weighted(0.25, prop::collection::btree_set(0u32..70, 1..6));
    let set = set.prop_map(|set| set.map(|set| set.into_iter().collect()));
    (0..COLUMNS, threshold, 0..3u8, any::<bool>(), set).prop_map(
        |(column, threshold, missing, default_left, set)| Split {
            column,
            threshold,
            missing,
            default_left,
            set,
        },
    )
}

/// A tree of up to `splits_max + 1` leaves: each split is put in the place of some leaf.
pub fn tree(splits_max: usize) -> impl Strategy<Value = Tree> {
    let leaf = || (-2.0..2.0f32, 0u32..20);
    let grown = (any::<prop::sample::Index>(), split(), leaf(), any::<bool>());
    (leaf(), prop::collection::vec(grown, 0..=splits_max)).prop_map(|(first, splits)| {
        let leaf = |(value, cover): (f32, u32)| Tree::Leaf { value: f64::from(value), cover };
        let mut tree = leaf(first);
        for (leaves, (place, split, new, new_left)) in splits.into_iter().enumerate() {
            put(&mut tree, &mut place.index(leaves + 1), &split, &leaf(new), new_left);
        }
        tree
    })
}

fn put(tree: &mut Tree, place: &mut usize, split: &Split, new: &Tree, new_left: bool) -> bool {
    match tree {
        Tree::Split { left, right, .. } => {
            put(left, place, split, new, new_left) || put(right, place, split, new, new_left)
        }
        Tree::Leaf { .. } if *place > 0 => {
            *place -= 1;
            false
        }
        Tree::Leaf { .. } => {
            let (new, old) = (Box::new(new.clone()), Box::new(tree.clone()));
            let (left, right) = if new_left { (new, old) } else { (old, new) };
            *tree = Tree::Split { split: split.clone(), left, right };
            true
        }
    }
}

pub fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => prop::sample::select(&AWKWARD[..]),
        2 => prop::sample::select(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY][..]),
        2 => (0u32..70).prop_map(|category| category as f32),
        1 => prop::sample::select(&AWKWARD[..]).prop_map(f32::next_up),
        1 => prop::sample::select(&AWKWARD[..]).prop_map(f32::next_down),
        1 => any::<u32>().prop_map(f32::from_bits),
    ]
}

pub fn rows(count_max: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(prop::collection::vec(value(), COLUMNS), 1..=count_max)
        .prop_map(|rows| rows.concat())
}

/// LightGBM's margin, by its own rules in `f64`.
pub fn lightgbm_margin(trees: &[Tree], row: &[f32]) -> f64 {
    let goes_left = |split: &Split| {
        // What the library's C interface does to every value first.
        let mut x = f64::from(row[split.column]);
        if x.abs() <= TINY {
            x = 0.0;
        }
        if let Some(set) = &split.set {
            let valid = !x.is_nan() && x > -1.0 && x < 2_147_483_648.0;
            return valid && set.contains(&(x as u32));
        }
        if x.is_nan() && split.missing != 2 {
            x = 0.0;
        }
        let is_missing = match split.missing {
            1 => x.abs() <= TINY,
            2 => x.is_nan(),
            _ => false,
        };
        if is_missing { split.default_left } else { x <= split.threshold }
    };
    trees.iter().map(|tree| tree.leaf(&goes_left)).fold(0.0, |sum, leaf| sum + leaf)
}

/// XGBoost's margin, by its own rules in `f32`, from the base margin of 1/2, `-ln(1)`.
pub fn xgboost_margin(trees: &[Tree], row: &[f32]) -> f64 {
    let goes_left = |split: &Split| {
        let x = row[split.column];
        if x.is_nan() {
            return split.default_left;
        }
        match &split.set {
            Some(set) => !((0.0..16_777_216.0).contains(&x) && set.contains(&(x as u32))),
            None => x < split.threshold as f32,
        }
    };
    f64::from(
        trees.iter().map(|tree| tree.leaf(&goes_left) as f32).fold(-0.0, |sum, leaf| sum + leaf),
    )
}

/// A LightGBM text model of the trees.
pub fn lightgbm_text(trees: &[Tree]) -> String {
    let mut text = format!(
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx={}\n\
         objective=binary sigmoid:1\nfeature_names={}\n\n",
        COLUMNS - 1,
        names().join(" "),
    );
    for (index, tree) in trees.iter().enumerate() {
        let mut lists = Lists::default();
        lists.add(tree);
        let join = |list: &[String]| list.join(" ");
        text += &format!(
            "Tree={index}\nnum_leaves={}\nnum_cat={}\nsplit_feature={}\nthreshold={}\ndecision_type={}\nleft_child={}\n\
             right_child={}\nleaf_value={}\nleaf_count={}\ninternal_count={}\ncat_boundaries={}\ncat_threshold={}\n\
             is_linear=0\nshrinkage=1\n\n",
            lists.leaf_value.len(),
            lists.bounds.len(),
            join(&lists.column),
            join(&lists.threshold),
            join(&lists.decision),
            join(&lists.left),
            join(&lists.right),
            join(&lists.leaf_value),
            join(&lists.leaf_count),
            join(&lists.count),
            std::iter::once("0".to_owned())
                .chain(lists.bounds.clone())
                .collect::<Vec<_>>()
                .join(" "),
            join(&lists.words),
        );
    }
    text + "end of trees\n"
}

pub fn names() -> Vec<String> {
    (0..COLUMNS).map(|i| format!("c{i}")).collect()
}

#[derive(Default)]
struct Lists {
    column: Vec<String>,
    threshold: Vec<String>,
    decision: Vec<String>,
    left: Vec<String>,
    right: Vec<String>,
    count: Vec<String>,
    leaf_value: Vec<String>,
    leaf_count: Vec<String>,
    bounds: Vec<String>,
    words: Vec<String>,
}

impl Lists {
    fn add(&mut self, tree: &Tree) -> i64 {
        match tree {
            Tree::Leaf { value, cover } => {
                self.leaf_value.push(format!("{value:?}"));
                self.leaf_count.push(cover.to_string());
                -(self.leaf_value.len() as i64)
            }
            Tree::Split { split, left, right } => {
                let own = self.column.len();
                self.column.push(split.column.to_string());
                self.count.push(tree.cover().to_string());
                let default = u8::from(split.default_left) << 1;
                if let Some(set) = &split.set {
                    self.threshold.push(self.bounds.len().to_string());
                    self.decision.push((1 | split.missing << 2).to_string());
                    let mut words = vec![0u32; *set.iter().max().unwrap_or(&0) as usize / 32 + 1];
                    for category in set {
                        words[*category as usize / 32] |= 1 << (category % 32);
                    }
                    self.words.extend(words.iter().map(u32::to_string));
                    self.bounds.push(self.words.len().to_string());
                } else {
                    self.threshold.push(format!("{:?}", split.threshold));
                    self.decision.push((default | split.missing << 2).to_string());
                }
                self.left.push(String::new());
                self.right.push(String::new());
                self.left[own] = self.add(left).to_string();
                self.right[own] = self.add(right).to_string();
                own as i64
            }
        }
    }
}

/// An XGBoost JSON model of the trees, with a base margin of 0.
pub fn xgboost_json(trees: &[Tree]) -> serde_json::Value {
    let trees: Vec<serde_json::Value> = trees.iter().map(xgboost_tree).collect();
    serde_json::json!({
        "version": [3, 2, 0],
        "learner": {
            "attributes": {},
            "feature_names": names(),
            "feature_types": [],
            "gradient_booster": {"name": "gbtree", "model": {
                "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": trees.len().to_string()},
                "tree_info": vec![0; trees.len()],
                "trees": trees,
            }},
            "learner_model_param": {
                "base_score": "[5E-1]", "num_class": "0", "num_target": "1",
                "num_feature": COLUMNS.to_string(),
            },
            "objective": {"name": "binary:logistic"},
        },
    })
}

fn xgboost_tree(tree: &Tree) -> serde_json::Value {
    // Level by level, as the library numbers its nodes.
    let mut nodes = vec![tree];
    let (mut left, mut right, mut index) = (vec![], vec![], 0);
    let (mut columns, mut conditions, mut defaults, mut types, mut covers) =
        (vec![], vec![], vec![], vec![], vec![]);
    let mut categories: Vec<u32> = vec![];
    let (mut of, mut segments, mut sizes) = (vec![], vec![], vec![]);
    while let Some(&node) = nodes.get(index) {
        covers.push(node.cover() as f32);
        match node {
            Tree::Leaf { value, .. } => {
                left.push(-1);
                right.push(-1);
                columns.push(0);
                conditions.push(*value as f32);
                defaults.push(0);
                types.push(0);
            }
            Tree::Split { split, left: a, right: b } => {
                left.push(nodes.len() as i64);
                right.push(nodes.len() as i64 + 1);
                nodes.extend([&**a, &**b]);
                columns.push(split.column);
                conditions.push(split.threshold as f32);
                defaults.push(u8::from(split.default_left));
                types.push(u8::from(split.set.is_some()));
                if let Some(set) = &split.set {
                    of.push(index);
                    segments.push(categories.len());
                    sizes.push(set.len());
                    categories.extend(set);
                }
            }
        }
        index += 1;
    }
    serde_json::json!({
        "left_children": left, "right_children": right, "split_indices": columns,
        "split_conditions": conditions, "default_left": defaults, "split_type": types,
        "sum_hessian": covers, "categories": categories, "categories_nodes": of,
        "categories_segments": segments, "categories_sizes": sizes,
        "tree_param": {"num_nodes": index.to_string(), "size_leaf_vector": "1"},
    })
}
