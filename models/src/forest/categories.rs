//! Category lists that a model file brings along, and their translation to the codes of the engine's columns.
//!
//! A pandas column of the type `category` is numbered by its own list, not by its values: the trees speak of places in that list.
//! LightGBM writes the lists behind the trees (`pandas_categorical`), XGBoost from 3.1 on beside them (`cats`).

use std::collections::{BTreeMap, BTreeSet};

use super::{Forest, ForestError, Test, Tree};

/// Largest category code that both libraries take.
const CODE_MAX: i64 = (1 << 24) - 1;

/// The category list of a column, by place.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum CategoryList {
    /// The column's values are numbers: the codes themselves.
    Numbers(Vec<f64>),
    /// The column's values are texts.
    Texts(Vec<String>),
}

/// A column whose categories are known by name only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedCategories {
    /// Index of the column.
    pub column: u32,
    /// Names by place.
    pub names: Vec<String>,
}

/// Replaces places by codes where the lists hold numbers, and returns the lists that hold texts.
///
/// # Errors
///
/// [`ForestError`] if a number is no category code, or stands twice.
pub(super) fn translate(
    format: &'static str,
    trees: &mut [Tree],
    lists: BTreeMap<u32, CategoryList>,
) -> Result<Vec<NamedCategories>, ForestError> {
    let mut named = Vec::new();
    for (column, list) in lists {
        let place = format!("categories of column {column}");
        match list {
            CategoryList::Numbers(numbers) => {
                let mut codes = Vec::with_capacity(numbers.len());
                for number in &numbers {
                    if number.fract() != 0.0 || *number < 0.0 || *number > CODE_MAX as f64 {
                        return Err(ForestError::unsupported(
                            format,
                            format!("the category {number} of column {column}"),
                            "train on the codes that `detector replay --rows-out` writes: whole numbers from 0",
                        ));
                    }
                    codes.push(Some(*number as u32));
                }
                if codes.iter().collect::<BTreeSet<_>>().len() != codes.len() {
                    return Err(ForestError::malformed(format, place, "a category stands twice"));
                }
                renumber(format, trees, column, &codes)?;
            }
            CategoryList::Texts(names) => {
                if names.iter().collect::<BTreeSet<_>>().len() != names.len() {
                    return Err(ForestError::malformed(format, place, "a category stands twice"));
                }
                // Places beyond the list are found now, while the file can be named.
                let same: Vec<Option<u32>> = (0..names.len() as u32).map(Some).collect();
                renumber(format, trees, column, &same)?;
                named.push(NamedCategories { column, names });
            }
        }
    }
    Ok(named)
}

/// Replaces the places in the category sets of a column's splits by `codes[place]`; a place without a code leaves its set.
///
/// # Errors
///
/// [`ForestError`] if a set holds a place that the list does not have.
pub(super) fn renumber(
    format: &'static str,
    trees: &mut [Tree],
    column: u32,
    codes: &[Option<u32>],
) -> Result<(), ForestError> {
    for (index, tree) in trees.iter_mut().enumerate() {
        let mut categories = Vec::with_capacity(tree.categories.len());
        for node in &mut tree.nodes {
            let Test::InSet { start, len, .. } = &mut node.test else { continue };
            let set = &tree.categories[*start as usize..(*start + *len) as usize];
            let own = categories.len();
            if node.column == column {
                for place in set {
                    let code = codes.get(*place as usize).ok_or_else(|| {
                        ForestError::malformed(
                            format,
                            format!("tree {index}"),
                            format!(
                                "a split of column {column} has category {place} of {}",
                                codes.len()
                            ),
                        )
                    })?;
                    categories.extend(*code);
                }
                categories[own..].sort_unstable();
            } else {
                categories.extend_from_slice(set);
            }
            (*start, *len) = (own as u32, (categories.len() - own) as u32);
        }
        tree.categories = categories;
    }
    Ok(())
}

impl Forest {
    /// The forest with its named categories replaced by the codes of the engine's columns: `code(column, name)`. The same forest
    /// where its file numbers no categories by name.
    ///
    /// # Errors
    ///
    /// The column's index and the first names without a code: the library gives such a value a score that this forest could not give.
    pub(crate) fn with_declared_categories(
        &self,
        code: impl Fn(u32, &str) -> Option<u32>,
    ) -> Result<Self, (u32, Vec<String>)> {
        let mut forest = self.clone();
        for NamedCategories { column, names } in std::mem::take(&mut forest.named_categories) {
            let codes: Vec<Option<u32>> = names.iter().map(|name| code(column, name)).collect();
            let unknown: Vec<String> = names
                .iter()
                .zip(&codes)
                .filter(|(_, code)| code.is_none())
                .map(|(name, _)| name.clone())
                .collect();
            if !unknown.is_empty() {
                return Err((column, unknown));
            }
            // Places were checked against the list when the file was read.
            if renumber("forest", &mut forest.trees, column, &codes).is_err() {
                return Err((column, Vec::new()));
            }
        }
        Ok(forest)
    }
}
