//! Reading `detector.toml`: file, `${ENV}`, `${file:PATH}`, `DETECTOR__SECTION__KEY` overrides; all errors at once.

use crate::kafka::config::KafkaSection;
use crate::service::reload::files::{self, Seen};
use crate::store::redis::RedisSection;
use engine::config::Config;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A rejected configuration, with everything that is wrong with it.
///
/// Not a [`std::error::Error`]: `?` must turn it into a refusal (exit code 2), never into a failure at work (1).
#[derive(Debug)]
pub struct ConfigError {
    /// The file.
    pub path: String,
    /// Each problem: what, where, what to do.
    pub problems: Vec<String>,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.problems.join("\n  "))
    }
}

/// A configuration and the folder that its relative paths start from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// `[kafka]`, if it is there.
    pub kafka: Option<KafkaSection>,
    /// `[redis]`, if it is there.
    pub redis: Option<RedisSection>,
    /// The file read.
    pub file: PathBuf,
    /// Folder of the file.
    pub folder: PathBuf,
    /// What was seen of the file just before it was read.
    pub(crate) seen: Seen,
}

impl Loaded {
    /// The folder of the model bundle: `model` instead of the one that the configuration names.
    pub fn model_path(&self, model: Option<&Path>) -> Option<PathBuf> {
        let named = || self.config.model.path.as_ref().map(|path| self.resolve(path));
        model.map(Path::to_path_buf).or_else(named)
    }

    /// A path of the configuration, made absolute against the file's folder.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}

/// What the names of environment variables begin with that take the place of a key.
const OVERRIDE: &str = "DETECTOR__";
/// Longest file that `${file:PATH}` takes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Reads a file, or `detector.toml` in a folder, with the process's environment.
///
/// # Errors
/// When the file cannot be read, or with everything that is wrong in it.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let (mut env, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, value) in std::env::vars_os() {
        // Names that are not UTF-8 are nobody's: no override and no `${NAME}` can be spelt like that.
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => {
                env.insert(name, value);
            }
            Err(_) if name.starts_with(OVERRIDE) => problems.push(format!(
                "environment variable {name}: its value is not UTF-8\n  hint: write it in UTF-8, or unset it"
            )),
            Err(_) => {}
        }
    }
    if problems.is_empty() {
        load_with(path, &env)
    } else {
        Err(ConfigError { path: path.display().to_string(), problems })
    }
}

/// As [`load`], with the environment passed in.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, env: &BTreeMap<String, String>) -> Result<Loaded, ConfigError> {
    let file = if path.is_dir() { path.join("detector.toml") } else { path.to_path_buf() };
    let fail = |problems: Vec<String>| ConfigError { path: file.display().to_string(), problems };
    let seen = files::seen(&file);
    let text = std::fs::read_to_string(&file).map_err(|e| {
        fail(vec![format!("cannot read it: {e}\nhint: `detector init --events F --out DIR` writes one that fits a stream")])
    })?;
    let (config, mut kafka, mut redis) = parse_all(&text, env).map_err(fail)?;
    let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
    let files = kafka.iter_mut().flat_map(KafkaSection::files);
    for path in files.chain(redis.iter_mut().flat_map(RedisSection::files)).flatten() {
        if !path.is_empty() {
            *path = folder.join(&*path).to_string_lossy().into_owned();
        }
    }
    Ok(Loaded { config, kafka, redis, file, folder, seen })
}

/// Turns the text into values, and checks that all of it is understood.
///
/// # Errors
/// Everything that is wrong: unset variables, unknown keys, values of the wrong type.
pub fn parse(text: &str, env: &BTreeMap<String, String>) -> Result<Config, Vec<String>> {
    parse_all(text, env).map(|(config, ..)| config)
}

/// The engine's part, and the sections of the edges, which the engine knows nothing of.
type Parsed = (Config, Option<KafkaSection>, Option<RedisSection>);

fn parse_all(text: &str, env: &BTreeMap<String, String>) -> Result<Parsed, Vec<String>> {
    let mut problems = Vec::new();
    let text = substitute(text, env, &mut problems);
    let mut table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(e) => {
            // Not its own text: that shows the line, and with it perhaps a secret.
            let at = e.span().map_or(0, |span| span.start).min(text.len());
            let before = text.get(..at).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            problems.push(format!(
                "line {line} column {column}: {}",
                e.message().trim_end().replace('\n', " ")
            ));
            return Err(problems);
        }
    };
    for (name, value) in env {
        let misspelt = name.strip_prefix(OVERRIDE.trim_end_matches('_'));
        if let Some(rest) = misspelt.and_then(|rest| rest.strip_prefix('_'))
            && !rest.starts_with('_')
            && rest.contains("__")
        {
            problems.push(format!(
                "environment variable {name}: it is no key\n  hint: write {OVERRIDE}{rest}, or unset it"
            ));
        }
        if let Some(path) = name.strip_prefix(OVERRIDE) {
            let path: Vec<String> = path.split("__").map(str::to_lowercase).collect();
            let done = match named_file(value) {
                Some(file) => secret_file(file).and_then(|text| {
                    let text = toml::Value::String(text);
                    set(&mut table, &path, text)
                }),
                None => put(&mut table, &path, value),
            };
            if let Err(why) = done {
                problems.push(format!("environment variable {name}: {why}"));
            }
        }
    }
    let kafka = edge(&mut table, "kafka", &mut problems);
    let redis = edge(&mut table, "redis", &mut problems);
    // Section by section, so that one wrong section does not hide the next.
    let mut good = toml::Table::new();
    for (section, value) in table {
        let mut alone = toml::Table::new();
        alone.insert(section.clone(), value.clone());
        match alone.try_into::<Config>() {
            Ok(_) => {
                good.insert(section, value);
            }
            Err(e) => problems.push(describe(&section, &e.to_string())),
        }
    }
    let config = match good.try_into::<Config>() {
        Ok(config) => config,
        Err(e) => {
            problems.push(e.to_string());
            return Err(problems);
        }
    };
    if let Err(found) = crate::http::Settings::of(&config.http) {
        problems.extend(found);
    }
    if let Err(found) = files::every(&config.reload) {
        problems.push(found);
    }
    if let Err(found) = crate::telemetry::logs::check(&config.log) {
        problems.push(found.to_string());
    }
    if problems.is_empty() { Ok((config, kafka, redis)) } else { Err(problems) }
}

/// Takes a section out before the engine's part is read.
fn edge<T: DeserializeOwned>(
    table: &mut toml::Table,
    name: &str,
    problems: &mut Vec<String>,
) -> Option<T> {
    match table.remove(name)?.try_into() {
        Ok(section) => Some(section),
        Err(e) => {
            problems.push(describe(name, &e.to_string()));
            None
        }
    }
}

fn describe(section: &str, error: &str) -> String {
    let error = error.trim_end().replace('\n', " ");
    if section == "privacy" && !error.contains("unknown field") {
        // The error would show the value.
        return "[privacy]: key must be a text between quotes".into();
    }
    if section == "http" && !error.contains("unknown field") {
        return "[http]: listen, token, access_log, heartbeat_max and checkpoint_age_max must be texts between quotes, and each of [[http.tokens]] has a name, a token and a role (all, read or score)".into();
    }
    // Errors show values: never one that may be a secret.
    let edge = ["kafka", "redis"].contains(&section);
    if edge && error.contains("invalid type") && !error.contains("unknown field") {
        let key = error.split("in `").nth(1).and_then(|rest| rest.split('`').next());
        let key = key.map_or_else(|| "a key".to_owned(), |key| format!("`{key}`"));
        let wanted = error.split("expected ").nth(1).unwrap_or("text").split(" in `").next();
        return format!(
            "[{section}]: {key} has a value of the wrong type: expected {}\n  hint: text stands between quotes",
            wanted.unwrap_or("text")
        );
    }
    let mut text = format!("[{section}]: {error}");
    if let Some(unknown) = error.split("unknown field `").nth(1).and_then(|r| r.split('`').next()) {
        let known: Vec<&str> =
            error.split("expected").nth(1).unwrap_or("").split('`').skip(1).step_by(2).collect();
        let nearest = known
            .iter()
            .map(|k| (strsim::jaro_winkler(k, unknown), *k))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(similarity, _)| *similarity > 0.75);
        if let Some((_, nearest)) = nearest {
            text.push_str(&format!("\n  hint: did you mean `{nearest}`?"));
        }
    }
    text
}

fn substitute(text: &str, env: &BTreeMap<String, String>, problems: &mut Vec<String>) -> String {
    let mut out = String::with_capacity(text.len());
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_start().starts_with('#') {
            out.push_str(line);
            continue;
        }
        let mut rest = line;
        while let Some(start) = rest.find("${") {
            let Some(end) = rest[start..].find('}') else {
                problems.push(format!(
                    "line {}: `${{` has no `}}`\n  hint: write ${{NAME}} or ${{file:PATH}} on one line",
                    number + 1
                ));
                break;
            };
            let name = &rest[start + 2..start + end];
            out.push_str(&rest[..start]);
            let found = match name.strip_prefix("file:") {
                Some(path) => secret_file(path),
                None => env.get(name).cloned().ok_or_else(|| {
                    format!(
                        "the environment variable {name} is not set\n  hint: export {name}=..., or write the value in its place"
                    )
                }),
            };
            match found {
                Ok(value) => out.push_str(&escaped(&value)),
                Err(why) => problems.push(format!("line {}: {why}", number + 1)),
            }
            rest = &rest[start + end + 1..];
        }
        out.push_str(rest);
    }
    out
}

/// The path, if a value is `${file:PATH}` and nothing else: how a variable of a container names a secret that was made for it.
fn named_file(value: &str) -> Option<&str> {
    value.strip_prefix("${file:")?.strip_suffix('}').filter(|path| !path.contains('}'))
}

/// The text of a file as `${file:PATH}` takes it: a secret that a secret store has put there.
fn secret_file(path: &str) -> Result<String, String> {
    if !Path::new(path).is_absolute() {
        return Err(format!("${{file:{path}}}: the path must begin with /"));
    }
    let long = || format!("the file {path} is longer than {SECRET_BYTES_MAX} bytes");
    let length = std::fs::metadata(path).map(|found| found.len());
    match length.and_then(|length| {
        Ok((length <= SECRET_BYTES_MAX).then_some(std::fs::read_to_string(path)?))
    }) {
        Ok(Some(text)) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Ok(None) => Err(long()),
        Err(e) => Err(format!(
            "cannot read the file {path}: {e}\n  hint: does it exist, and may this user read it?"
        )),
    }
}

/// A value as it stands between the quotes of a TOML text.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' | '"' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Puts a variable's value under its path: what is TOML as TOML, unless only text will do there (a secret that
/// consists of digits).
fn put(table: &mut toml::Table, path: &[String], text: &str) -> Result<(), String> {
    let as_text = toml::Value::String(text.into());
    let as_toml = format!("x = {text}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("x"));
    let mut with_text = table.clone();
    set(&mut with_text, path, as_text)?;
    let fits = |table: &toml::Table| {
        let section = path.first().and_then(|s| Some((s.clone(), table.get(s)?.clone())));
        match path.first().map(String::as_str) {
            Some("kafka") => section.is_some_and(|s| s.1.try_into::<KafkaSection>().is_ok()),
            Some("redis") => section.is_some_and(|s| s.1.try_into::<RedisSection>().is_ok()),
            _ => toml::Table::from_iter(section).try_into::<Config>().is_ok(),
        }
    };
    if let Some(value) = as_toml {
        let mut with_toml = table.clone();
        set(&mut with_toml, path, value)?;
        if fits(&with_toml) || !fits(&with_text) {
            *table = with_toml;
            return Ok(());
        }
    }
    *table = with_text;
    Ok(())
}

fn set(table: &mut toml::Table, path: &[String], value: toml::Value) -> Result<(), String> {
    let [section, rest @ ..] = path else { return Err("names no key".into()) };
    if section.is_empty() {
        return Err("names no key: write DETECTOR__SECTION__KEY".into());
    }
    if rest.is_empty() {
        table.insert(section.clone(), value);
        return Ok(());
    }
    let next =
        table.entry(section.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    match next {
        toml::Value::Table(next) => set(next, rest, value),
        _ => Err(format!("{section} is not a section")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn what_looks_like_a_variable_and_is_none_is_refused() {
        for text in ["[privacy]\nkey = \"${SECRET\"\n", "[privacy]\nkey = \"a${file:/x\"\n"] {
            let problems = parse(text, &env(&[("SECRET", "0123456789abcdef")])).unwrap_err();
            assert!(problems[0].contains("line 2: `${` has no `}`"), "{problems:?}");
        }
        assert!(parse("# ${SECRET\n", &env(&[])).is_ok());
        for (name, is_wrong) in [
            ("DETECTOR_HTTP__TOKEN", true),
            ("DETECTOR_GRAPH__RECENT_MEMBERS_MAX", true),
            ("DETECTOR_HTTP_TOKEN", false),
            ("DETECTORS_A__B", false),
        ] {
            let found = parse("", &env(&[(name, "9")]));
            let said = found.err().unwrap_or_default().join("\n");
            assert_eq!(said.contains(&format!("environment variable {name}")), is_wrong, "{said}");
        }
    }

    #[test]
    fn environment_over_file_over_default() {
        let text = "[graph]\nlinks_per_account_max = 7\n[privacy]\nkey = \"${SECRET}\"\n";
        let env = env(&[("SECRET", "a\"b"), ("DETECTOR__GRAPH__RECENT_MEMBERS_MAX", "9")]);
        let config = parse(text, &env).unwrap();
        assert_eq!(config.graph.links_per_account_max, 7);
        assert_eq!(config.graph.recent_members_max, 9);
        assert_eq!(config.privacy.key.as_deref(), Some("a\"b"));
        assert_eq!(config.graph.component_window, "30d");
        assert!(!format!("{config:?}").contains("a\\\"b"), "secrets are never printed");
    }

    #[test]
    fn what_listens_and_logs_is_checked_and_tells_no_secret() {
        let open = "[http]\nlisten = \"0.0.0.0:9600\"\n";
        let problems = parse(open, &env(&[])).unwrap_err();
        assert!(problems[0].contains("http.token"), "{problems:?}");
        let secret = env(&[("DETECTOR__HTTP__TOKEN", "0123456789012345")]);
        let config = parse(open, &secret).unwrap();
        assert_eq!(config.http.token.as_deref(), Some("0123456789012345"));
        assert!(!format!("{config:?}").contains("0123456789"), "secrets are never printed");
        let problems =
            parse("[http]\ntoken = 1234567890123456\n[log]\nlevel = \"loud\"", &env(&[]));
        let problems = problems.unwrap_err().join("\n");
        assert!(problems.contains("[http]") && !problems.contains("123456"), "{problems}");
        assert!(problems.contains("log.level"), "{problems}");
    }

    #[test]
    fn a_secret_may_come_from_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "tw\"o\nlines\r\n").unwrap();
        let text = format!("[privacy]\nkey = \"${{file:{}}}\"\n", file.path().display());
        let config = parse(&text, &env(&[])).unwrap();
        assert_eq!(config.privacy.key.as_deref(), Some("tw\"o\nlines"));
        std::fs::write(file.path(), vec![b'x'; SECRET_BYTES_MAX as usize + 1]).unwrap();
        assert!(parse(&text, &env(&[])).unwrap_err()[0].contains("longer"));
        for (path, why) in [("/nowhere/at/all", "cannot read"), ("relative", "begin with /")] {
            let text = format!("[privacy]\nkey = \"${{file:{path}}}\"\n");
            let problems = parse(&text, &env(&[])).unwrap_err();
            assert!(problems[0].contains(why) && problems[0].contains("line 2"), "{problems:?}");
        }
    }

    #[test]
    fn override_that_names_a_file_is_the_text_of_that_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "1234567890123456\n").unwrap();
        let path = file.path().display();
        let by_file = env(&[("DETECTOR__HTTP__TOKEN", &format!("${{file:{path}}}"))]);
        // Of digits only, and a text all the same.
        let config = parse("[http]\nlisten = \"0.0.0.0:9600\"", &by_file).unwrap();
        assert_eq!(config.http.token.as_deref(), Some("1234567890123456"));
        // Anything around it, and it is a value like any other.
        for plain in ["${file:", "x${file:/nowhere/at/all}", "${NAME}", "${file:/a}${file:/b}"] {
            let config = parse("", &env(&[("DETECTOR__PRIVACY__KEY", plain)])).unwrap();
            assert_eq!(config.privacy.key.as_deref(), Some(plain));
        }
        for (path, why) in [("/nowhere/at/all", "cannot read"), ("relative", "begin with /")] {
            let wrong = env(&[("DETECTOR__HTTP__TOKEN", &format!("${{file:{path}}}"))]);
            let problems = parse("", &wrong).unwrap_err();
            assert!(
                problems[0].contains(why) && problems[0].contains("DETECTOR__HTTP__TOKEN"),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn a_secret_of_the_wrong_type_is_not_shown() {
        for (text, key) in [
            ("[kafka.security]\npassword = 123456", "password"),
            ("[kafka.properties]\n\"sasl.password\" = 123456", "sasl.password"),
            ("[kafka.registry]\npassword = 123456", "password"),
            ("[redis]\npassword = 123456", "password"),
            ("[redis]\nurl = 123456", "url"),
        ] {
            let problems = parse(text, &env(&[])).unwrap_err().join("\n");
            assert!(!problems.contains("123456"), "{problems}");
            assert!(problems.contains(key) && problems.contains("string"), "{problems}");
        }
    }

    #[test]
    fn all_errors_at_once_each_with_its_place() {
        let text = "[graph]\nlinks_per_acount_max = 7\n[labels]\nunit = \"person\"\n[time]\nnight = 3\n[nonsense]\nx = \"${UNSET}\"\n";
        let problems = parse(text, &env(&[])).unwrap_err();
        assert_eq!(problems.len(), 5, "{problems:#?}");
        assert!(
            problems.iter().any(|p| p.contains("did you mean `links_per_account_max`")),
            "{problems:#?}"
        );
        assert!(problems.iter().any(|p| p.contains("UNSET")));
        assert!(problems.iter().any(|p| p.contains("[labels]")));
        assert!(problems.iter().any(|p| p.contains("[nonsense]")));
    }
}
