//! The model directory: `model.toml` and the files that it names.
//!
//! A bundle is parsed from bytes and checked whole: unknown keys, unlisted files, false sums and numbers that are not
//! finite are refused. It is then bound to the engine's columns, once, which gives a [`Scorer`].

mod error;
mod manifest;
mod scorer;

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::calibration::Calibration;
use crate::forest::{Forest, Link, lightgbm, xgboost};
use crate::limits::{BUNDLE_FILES_MAX, FILE_BYTES_MAX, MANIFEST_BYTES_MAX};
pub use error::{BundleError, MissingColumn};
pub use manifest::{ForestFile, ForestFormat, Kind, MANIFEST_FORMAT, Manifest};
pub use scorer::{Explanation, Scorer, Scores};

/// Name of the manifest in the directory.
pub const MANIFEST_FILE: &str = "model.toml";

/// A checked model directory, in memory.
///
/// ```
/// use std::collections::BTreeMap;
/// use models::bundle::{Bundle, Kind, Manifest};
/// use models::LogisticModel;
///
/// let mut manifest = Manifest::new("label-free", "1", Kind::Labelfree, "hash");
/// manifest.behaviour_model = Some(LogisticModel { bias: -3.0, columns: vec![] });
/// let bundle = Bundle::new(manifest, BTreeMap::new()).unwrap();
/// assert_eq!(Bundle::parse(&bundle.to_files()).unwrap(), bundle);
/// let scorer = bundle.bind(&[], "hash").unwrap();
/// assert!((scorer.score(&[]).score - 0.0474).abs() < 1e-4);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    manifest: Manifest,
    manifest_text: String,
    files: BTreeMap<String, Vec<u8>>,
    forest: Option<Arc<Forest>>,
}

impl Bundle {
    /// Reads a directory's files: name to content. Cost: linear in the files.
    ///
    /// # Errors
    ///
    /// [`BundleError`] saying what is wrong, in which file.
    pub fn parse(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, BundleError> {
        let text = files
            .get(MANIFEST_FILE)
            .ok_or_else(|| BundleError::MissingFile { file: MANIFEST_FILE.to_owned() })?;
        if text.len() > MANIFEST_BYTES_MAX {
            let what = format!("has {} bytes, over {MANIFEST_BYTES_MAX}", text.len());
            return Err(BundleError::invalid(MANIFEST_FILE, what));
        }
        let text = std::str::from_utf8(text)
            .map_err(|_| BundleError::invalid(MANIFEST_FILE, "is not UTF-8"))?;
        let manifest: Manifest = toml::from_str(text)
            .map_err(|error| BundleError::invalid(MANIFEST_FILE, error.to_string()))?;
        let others: BTreeMap<String, Vec<u8>> = files
            .iter()
            .filter(|(name, _)| *name != MANIFEST_FILE)
            .map(|(name, bytes)| (name.clone(), bytes.clone()))
            .collect();
        for (file, expected) in &manifest.sha256 {
            let bytes =
                others.get(file).ok_or_else(|| BundleError::MissingFile { file: file.clone() })?;
            let found = sha256_hex(bytes);
            if found != *expected {
                let (file, expected) = (file.clone(), expected.clone());
                return Err(BundleError::Sha256 { file, expected, found });
            }
        }
        if let Some(file) = others.keys().find(|file| !manifest.sha256.contains_key(*file)) {
            return Err(BundleError::UnlistedFile { file: file.clone() });
        }
        Self::check(manifest, text.to_owned(), others)
    }

    /// Makes a bundle of a manifest and the other files. The manifest's sums are filled in here.
    ///
    /// # Errors
    ///
    /// [`BundleError`], as [`Bundle::parse`].
    pub fn new(
        mut manifest: Manifest,
        files: BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, BundleError> {
        manifest.sha256 =
            files.iter().map(|(name, bytes)| (name.clone(), sha256_hex(bytes))).collect();
        let text = toml::to_string(&manifest)
            .map_err(|error| BundleError::invalid(MANIFEST_FILE, error.to_string()))?;
        Self::check(manifest, text, files)
    }

    /// The directory's files. The same bundle gives the same bytes; a parsed one gives those that it was parsed from.
    #[must_use]
    pub fn to_files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.files.clone();
        files.insert(MANIFEST_FILE.to_owned(), self.manifest_text.clone().into_bytes());
        files
    }

    /// What `model.toml` says.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The forest, unless the bundle is label-free.
    #[must_use]
    pub fn forest(&self) -> Option<&Forest> {
        self.forest.as_deref()
    }

    /// What actions carry as the model's version: the first 16 hexadecimal digits of the SHA-256 of `model.toml`, which
    /// holds the sums of all other files.
    #[must_use]
    pub fn version_id(&self) -> String {
        let mut hex = sha256_hex(self.manifest_text.as_bytes());
        hex.truncate(16);
        hex
    }

    /// Binds the bundle to the columns of the engine's vector, in order, and to the hash of its feature set.
    ///
    /// # Errors
    ///
    /// [`BundleError::Features`] naming the hash and the columns that differ, with the nearest names.
    pub fn bind(
        &self,
        available: &[String],
        feature_set_hash: &str,
    ) -> Result<Scorer, BundleError> {
        self.bind_with_categories(available, feature_set_hash, &|_, _| None)
    }

    /// As [`Bundle::bind`], where the model's file may know categories by name: `category(column, name)` is the code that the
    /// engine's column has for a category.
    ///
    /// # Errors
    ///
    /// As [`Bundle::bind`], and [`BundleError::Categories`] naming the categories without a code.
    pub fn bind_with_categories(
        &self,
        available: &[String],
        feature_set_hash: &str,
        category: &dyn Fn(&str, &str) -> Option<u32>,
    ) -> Result<Scorer, BundleError> {
        scorer::bind(self, available, feature_set_hash, category)
    }

    fn check(
        manifest: Manifest,
        manifest_text: String,
        files: BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, BundleError> {
        check_files(&files)?;
        manifest.check()?;
        let mut forest = None;
        if let Some(ForestFile { file, format }) = &manifest.forest {
            let bytes =
                files.get(file).ok_or_else(|| BundleError::MissingFile { file: file.clone() })?;
            let read = match format {
                ForestFormat::XgboostJson => xgboost::from_json(bytes),
                ForestFormat::XgboostUbj => xgboost::from_ubj(bytes),
                ForestFormat::LightgbmText => lightgbm::from_text(bytes),
            };
            let read = read.map_err(|source| BundleError::Forest { file: file.clone(), source })?;
            check_forest(&manifest, file, &read)?;
            forest = Some(Arc::new(read));
        }
        Ok(Bundle { manifest, manifest_text, files, forest })
    }
}

fn check_files(files: &BTreeMap<String, Vec<u8>>) -> Result<(), BundleError> {
    if files.len() > BUNDLE_FILES_MAX {
        let what = format!("has {} files, over {BUNDLE_FILES_MAX}", files.len());
        return Err(BundleError::invalid("the bundle", what));
    }
    for (name, bytes) in files {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !plain || name.is_empty() || name.starts_with('.') || name == MANIFEST_FILE {
            let what = "is not a plain file name (letters, digits, dot, dash and underscore)";
            return Err(BundleError::invalid(format!("{name:?}"), what));
        }
        if bytes.len() > FILE_BYTES_MAX {
            let what = format!("has {} bytes, over {FILE_BYTES_MAX}", bytes.len());
            return Err(BundleError::invalid(name, what));
        }
    }
    Ok(())
}

/// The forest and the manifest must speak of the same columns, and the margin must be one to make a probability of.
fn check_forest(manifest: &Manifest, file: &str, forest: &Forest) -> Result<(), BundleError> {
    let names = &manifest.features;
    if forest.columns() != names.len() {
        let what = format!("has {} columns, but features lists {}", forest.columns(), names.len());
        return Err(BundleError::invalid(file, what));
    }
    for (index, (in_file, listed)) in forest.column_names().iter().zip(names).enumerate() {
        // Both libraries number columns that have no name; LightGBM turns spaces into underscores.
        let generic = [format!("Column_{index}"), format!("f{index}")].contains(in_file);
        if !generic && in_file != listed && *in_file != listed.replace(' ', "_") {
            let what = format!("names column {index} {in_file:?}, but features says {listed:?}");
            return Err(BundleError::invalid(file, what));
        }
    }
    match forest.link() {
        Link::LogisticF32 | Link::LogisticF64 { .. } => Ok(()),
        Link::Identity if manifest.calibration != Calibration::None => Ok(()),
        link => {
            let what = format!("its margin ({link:?}) gives no probability; train a classifier");
            Err(BundleError::invalid(file, what))
        }
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
