//! Trees as an XGBoost JSON model: a regression that starts from 0.

use super::grow::Tree;
use crate::error::TrainError;
use serde_json::{Value, json};

/// The model file. The same trees give the same bytes.
pub(super) fn xgboost_json(trees: &[Tree], columns: &[String]) -> Result<Vec<u8>, TrainError> {
    let trees_json: Vec<Value> =
        trees.iter().enumerate().map(|(id, tree)| one(id, tree, columns.len())).collect();
    let document = json!({
        "version": [3, 0, 0],
        "learner": {
            "attributes": {},
            "feature_names": columns,
            "feature_types": vec!["float"; columns.len()],
            "gradient_booster": {
                "name": "gbtree",
                "model": {
                    "gbtree_model_param": { "num_parallel_tree": "1", "num_trees": trees.len().to_string() },
                    "iteration_indptr": (0..=trees.len()).collect::<Vec<_>>(),
                    "tree_info": vec![0; trees.len()],
                    "trees": trees_json,
                },
            },
            "learner_model_param": {
                "base_score": "0E0",
                "boost_from_average": "0",
                "num_class": "0",
                "num_feature": columns.len().to_string(),
                "num_target": "1",
            },
            "objective": { "name": "reg:squarederror", "reg_loss_param": { "scale_pos_weight": "1" } },
        },
    });
    serde_json::to_vec(&document).map_err(|e| TrainError::Forest(e.to_string()))
}

fn one(id: usize, tree: &Tree, columns: usize) -> Value {
    let count = tree.left.len();
    let mut parents = vec![i32::MAX; count];
    for node in 0..count {
        for child in [tree.left[node], tree.right[node]] {
            if let Ok(child) = usize::try_from(child) {
                parents[child] = node as i32;
            }
        }
    }
    // What a split would answer as a leaf is not used by any reader.
    let weights: Vec<f32> =
        tree.value.iter().zip(&tree.left).map(|(v, l)| if *l == -1 { *v } else { 0.0 }).collect();
    json!({
        "id": id,
        "base_weights": weights,
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "default_left": tree.default_left.iter().map(|d| i32::from(*d)).collect::<Vec<_>>(),
        "left_children": tree.left,
        "right_children": tree.right,
        "loss_changes": vec![0.0; count],
        "parents": parents,
        "split_conditions": tree.value,
        "split_indices": tree.column,
        "split_type": vec![0; count],
        "sum_hessian": tree.cover,
        "tree_param": {
            "num_deleted": "0",
            "num_feature": columns.to_string(),
            "num_nodes": count.to_string(),
            "size_leaf_vector": "1",
        },
    })
}
