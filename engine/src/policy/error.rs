//! What can be wrong with a policy.

use features::expr::ExprError;
use thiserror::Error;

/// One thing that is wrong with a policy; compiling reports all of them.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PolicyError {
    /// A rule's condition.
    #[error("rules.{rule}.when: {error}")]
    Condition {
        /// The rule.
        rule: String,
        /// What is wrong with it.
        error: ExprError,
    },
    /// A name that cannot be a rule's.
    #[error(
        "rules[{index}].name is `{name}`; use lower-case letters, digits, `_`, `-` and `.`, at most \
         64 of them"
    )]
    RuleName {
        /// Place of the rule, from 0.
        index: usize,
        /// Its name.
        name: String,
    },
    /// Two rules of one name.
    #[error("rules[{index}] and rules[{first}] are both named `{name}`; rename one")]
    DuplicateRule {
        /// Place of the second, from 0.
        index: usize,
        /// Place of the first.
        first: usize,
        /// The name.
        name: String,
    },
    /// Too many rules.
    #[error("{found} rules are more than {max}; join conditions with `||`")]
    TooManyRules {
        /// How many there are.
        found: usize,
        /// The cap.
        max: usize,
    },
    /// Text that is not a duration.
    #[error("{key}: {message}")]
    Duration {
        /// The key in the configuration.
        key: String,
        /// What is wrong with it.
        message: String,
    },
    /// `expires` of no length, or of an action that has no end.
    #[error("rules.{rule}.expires {problem}; remove it")]
    Expires {
        /// The rule.
        rule: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A name in braces that does not exist.
    #[error(
        "rules.{rule}.reason: unknown name `{{{name}}}`{}; write `{{{{` for a brace",
        nearest.as_ref().map(|n| format!("; did you mean `{{{n}}}`?")).unwrap_or_default()
    )]
    ReasonName {
        /// The rule.
        rule: String,
        /// The name.
        name: String,
        /// The nearest name that exists.
        nearest: Option<String>,
    },
    /// A brace that is never closed.
    #[error("rules.{rule}.reason: `{{` is never closed; write `{{{{` for a brace")]
    ReasonBrace {
        /// The rule.
        rule: String,
    },
    /// Values in a text for the account's owner.
    #[error(
        "rules.{rule}.user_reason has a brace; it is read by the account's owner and cannot quote \
         values, move them to `reason`"
    )]
    UserReason {
        /// The rule.
        rule: String,
    },
    /// An entry that is not `kind:key`.
    #[error(
        "policy.allow_entities: `{entry}` is not `kind:key`; write for example `ip:203.0.113.7`"
    )]
    AllowEntity {
        /// The entry.
        entry: String,
    },
    /// An entry of a kind that does not exist.
    #[error(
        "policy.allow_entities: `{entry}` matches nothing: kind `{kind}` is not declared; {}",
        match nearest {
            Some(name) => format!("did you mean `{name}`?"),
            None if declared.is_empty() => "no kind is; declare it under `[kinds]`".to_owned(),
            None => format!("declared: {}", declared.join(", ")),
        }
    )]
    AllowKind {
        /// The entry.
        entry: String,
        /// Its kind.
        kind: String,
        /// The nearest kind that exists.
        nearest: Option<String>,
        /// All kinds.
        declared: Vec<String>,
    },
    /// An entry whose key no key can be.
    #[error("policy.allow_entities: `{entry}` matches nothing: {problem}")]
    AllowKey {
        /// The entry.
        entry: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// An account that no account can be.
    #[error("policy.allow_accounts: `{account}` matches nothing: {problem}")]
    AllowAccount {
        /// The entry.
        account: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A cap on what is never published.
    #[error("policy.caps_per_hour.allow: `allow` is never published; remove it")]
    CapOnAllow,
    /// A threshold that is not a number, or not named like one.
    #[error(
        "policy.thresholds.{name} ({value}) must be a finite number with a name of letters, digits and `_`"
    )]
    Threshold {
        /// Its name.
        name: String,
        /// Its value.
        value: f64,
    },
}

/// Why the bytes of a state are not one.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum StateError {
    /// Another length than this version writes.
    #[error(
        "policy state of {found} bytes, expected {expected}; it was written by another version"
    )]
    Length {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// Another version of the layout.
    #[error(
        "policy state of version {found}, expected {expected}; it was written by another version"
    )]
    Version {
        /// What the bytes say.
        found: u8,
        /// What this version writes.
        expected: u8,
    },
    /// More actions in force than are ever remembered.
    #[error("policy state with {found} actions, more than {max}; the bytes are damaged")]
    Actions {
        /// How many it says there are.
        found: usize,
        /// How many there can be.
        max: usize,
    },
    /// A number that stands for no action.
    #[error("policy state names action {found}, which does not exist; the bytes are damaged")]
    Action {
        /// What the bytes say.
        found: u8,
    },
}
