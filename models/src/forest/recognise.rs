//! What the bytes of a model file are, by how they begin: a file of another form is refused by its name, with what to do.

use super::ForestError;

/// A form of model files that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileForm {
    XgboostJson,
    XgboostUbj,
    LightgbmText,
}

impl FileForm {
    /// As `[forest] format` in `model.toml` has it.
    fn key(self) -> &'static str {
        match self {
            FileForm::XgboostJson => "xgboost_json",
            FileForm::XgboostUbj => "xgboost_ubj",
            FileForm::LightgbmText => "lightgbm_text",
        }
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let trimmed = bytes.trim_ascii_start();
        if bytes.starts_with(b"tree\n") || bytes.starts_with(b"tree\r\n") {
            return Some(FileForm::LightgbmText);
        }
        let [b'{', rest @ ..] = trimmed else { return None };
        match rest.trim_ascii_start().first() {
            Some(b'"' | b'}') => Some(FileForm::XgboostJson),
            Some(b'L' | b'l' | b'I' | b'U' | b'i') => Some(FileForm::XgboostUbj),
            _ => None,
        }
    }
}

/// How much of a file is looked at.
const HEAD_BYTES: usize = 4096;

/// Refuses a file that is recognised as something else than `expected`; says nothing of what is not recognised.
pub(super) fn refuse_other_forms(bytes: &[u8], expected: FileForm) -> Result<(), ForestError> {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    let other = |found: &'static str, hint: String| {
        Err(ForestError::OtherForm { expected: expected.key(), found, hint })
    };
    if let Some((found, hint)) = foreign(head) {
        return other(found, hint.to_owned());
    }
    match FileForm::of(head) {
        Some(found) if found != expected => {
            let name = match found {
                FileForm::XgboostJson => "a JSON file",
                FileForm::XgboostUbj => "an XGBoost model in binary JSON (UBJ)",
                FileForm::LightgbmText => "a LightGBM text model",
            };
            let hint = format!("set format = \"{}\" under [forest] in model.toml", found.key());
            other(name, hint)
        }
        _ => Ok(()),
    }
}

const SAVE_AGAIN: &str = "load it in Python and save the model itself: save_model(\"model.json\") of XGBoost, booster_.save_model(\"model.txt\") of LightGBM";
const AS_IT_IS: &str = "unpack it, and put the model file itself into the bundle";

/// What no reader reads, and what to do.
fn foreign(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let has = |text: &str| head.windows(text.len()).any(|window| window == text.as_bytes());
    Some(match head {
        [] => ("an empty file", "write the file again from the library that trained it"),
        [0xef, 0xbb, 0xbf, ..] => {
            ("text behind a byte order mark", "save it without (encoding utf-8, not utf-8-sig)")
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => ("text in UTF-16", "save it as UTF-8"),
        [0x80, 2..=5, ..] => ("a Python pickle", SAVE_AGAIN),
        [0x1f, 0x8b, ..] => ("a gzip file", AS_IT_IS),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("a zstd file", AS_IT_IS),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => ("an xz file", AS_IT_IS),
        [b'B', b'Z', b'h', ..] => ("a bzip2 file", AS_IT_IS),
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => {
            ("a zlib stream, as joblib compresses pickles", SAVE_AGAIN)
        }
        [b'P', b'K', 3, 4, ..] => ("a zip archive", AS_IT_IS),
        [b'P', b'A', b'R', b'1', ..] => {
            ("a Parquet file", "name the model file, not the rows that it was trained on")
        }
        [0x89, b'H', b'D', b'F', ..] => ("an HDF5 file", SAVE_AGAIN),
        [b'C', b'B', b'M', b'1', ..] => {
            ("a CatBoost model", "train with XGBoost or LightGBM, whose scores are reproduced")
        }
        [b'b', b'i', b'n', b'f', ..] | [b'b', b's', b'6', b'4', ..] => (
            "an XGBoost model in the old binary form",
            "load it in XGBoost 1.7 to 3.0 and save_model(\"model.json\")",
        ),
        _ if head.starts_with(b"booster[0]") => (
            "an XGBoost dump for people",
            "save_model(\"model.json\"), not dump_model: a dump lacks the base score",
        ),
        _ if head.first() == Some(&b'{')
            && has("\"tree_info\"")
            && has("\"num_tree_per_iteration\"") =>
        {
            (
                "a LightGBM dump in JSON",
                "save_model(\"model.txt\"), not dump_model, with format = \"lightgbm_text\"",
            )
        }
        _ if head.first() == Some(&b'{') && has("oblivious_trees") => (
            "a CatBoost model in JSON",
            "train with XGBoost or LightGBM, whose scores are reproduced",
        ),
        _ if head.first() == Some(&b'[') && has("\"nodeid\"") => (
            "an XGBoost dump in JSON",
            "save_model(\"model.json\"), not dump_model: a dump lacks the base score",
        ),
        // Saved by XGBoost before 1.0: the same without the first word.
        _ if !head.is_ascii() && has("gbtree") && !matches!(head.first(), Some(b'{')) => (
            "an XGBoost model in the old binary form",
            "load it in XGBoost 1.7 to 3.0 and save_model(\"model.json\")",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_forms_are_named() {
        let old: Vec<u8> = [b"binf\0\0\0?\x02\0\0\0".as_slice(), &[0; 120]].concat();
        let older = [b"\0\0\0?\x02\0\0\0".as_slice(), &[0xff; 120], b"binary:logistic\x06\0gbtree"];
        let older = older.concat();
        let rows: &[(&[u8], &str, &str)] = &[
            (b"", "empty", "again"),
            (b"\xef\xbb\xbf{\"learner\":{}}", "byte order mark", "utf-8-sig"),
            (b"\xff\xfe{\0\"\0", "UTF-16", "UTF-8"),
            (b"\x80\x04\x95\x10\0", "pickle", "save_model"),
            (b"\x80\x02ccopy_reg", "pickle", "save_model"),
            (b"\x78\x9c\x4b\x4c", "joblib", "save_model"),
            (b"\x1f\x8b\x08\0", "gzip", "unpack"),
            (b"\x28\xb5\x2f\xfd\x04", "zstd", "unpack"),
            (b"\xfd7zXZ\0", "xz", "unpack"),
            (b"BZh91AY", "bzip2", "unpack"),
            (b"PK\x03\x04\x14", "zip", "unpack"),
            (b"PAR1\x15", "Parquet", "rows"),
            (b"\x89HDF\r\n", "HDF5", "save_model"),
            (b"CBM1\0\0", "CatBoost", "XGBoost or LightGBM"),
            (&old, "old binary", "model.json"),
            (&older, "old binary", "model.json"),
            (b"booster[0]:\n0:[f0<1]", "dump", "dump_model"),
            (b"[\n {\"nodeid\": 0, \"depth\": 0", "dump", "dump_model"),
            (
                b"{\"name\":\"tree\",\"num_tree_per_iteration\":1,\"tree_info\":[",
                "LightGBM dump",
                "model.txt",
            ),
            (b"{\"oblivious_trees\":[]}", "CatBoost", "XGBoost"),
        ];
        for expected in [FileForm::XgboostJson, FileForm::XgboostUbj, FileForm::LightgbmText] {
            for (bytes, found, hint) in rows {
                let said = refuse_other_forms(bytes, expected).expect_err(found).to_string();
                assert!(said.contains(found) && said.contains(hint), "{found}: {said}");
            }
        }
    }

    #[test]
    fn a_form_that_is_read_is_named_with_its_key() {
        let forms: &[(&[u8], FileForm, &str)] = &[
            (b"{\"learner\":{}}", FileForm::XgboostJson, "xgboost_json"),
            (b" {\n \"learner\": {}}", FileForm::XgboostJson, "xgboost_json"),
            (b"{L\0\0\0\0\0\0\0\x07learner", FileForm::XgboostUbj, "xgboost_ubj"),
            (b"{i\x07learner", FileForm::XgboostUbj, "xgboost_ubj"),
            (b"tree\nversion=v4\n", FileForm::LightgbmText, "lightgbm_text"),
            (b"tree\r\nversion=v4\r\n", FileForm::LightgbmText, "lightgbm_text"),
        ];
        for (bytes, form, key) in forms {
            for expected in [FileForm::XgboostJson, FileForm::XgboostUbj, FileForm::LightgbmText] {
                match refuse_other_forms(bytes, expected) {
                    Ok(()) => assert_eq!(*form, expected, "{key}"),
                    Err(e) => {
                        assert_ne!(*form, expected, "{key}");
                        assert!(e.to_string().contains(&format!("format = \"{key}\"")), "{e}");
                    }
                }
            }
        }
    }
}
