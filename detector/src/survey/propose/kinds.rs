//! Which kinds are declared, which of them bind accounts, and which hold accounts themselves.

use super::labels::LabelUnit;
use super::names;
use super::time::Time;
use crate::survey::durations::{D, at_least, rough, text};
use crate::survey::keys::KeysReport;
use crate::survey::report::Report;
use features::config::KindConfig;

/// Above this many accounts a key is a crowd's.
const UNION_DEGREE_MAX: u64 = 16;

/// Kinds that are declared, at most (one less than the features crate allows).
const KINDS_MAX: usize = 30;

/// Kinds whose keys are read as accounts, at most.
const ACCOUNT_KINDS_MAX: usize = 2;

/// Words that say that a key is an account.
const ACCOUNT_WORDS: [&str; 24] = [
    "account",
    "user",
    "peer",
    "friend",
    "member",
    "seller",
    "buyer",
    "sender",
    "recipient",
    "receiver",
    "rater",
    "ratee",
    "payee",
    "payer",
    "follower",
    "followee",
    "contact",
    "owner",
    "author",
    "inviter",
    "referrer",
    "customer",
    "worker",
    "counterparty",
];

/// Words that say that a key is a copy of something, which anybody can send too.
const CONTENT_WORDS: [&str; 22] = [
    "content",
    "text",
    "message",
    "image",
    "photo",
    "picture",
    "avatar",
    "media",
    "video",
    "audio",
    "url",
    "link",
    "domain",
    "hashtag",
    "template",
    "caption",
    "comment",
    "title",
    "hash",
    "attachment",
    "song",
    "post",
];

/// With more pairs of account and key that meet again on another day, the keys are things that people have.
const RETURNED_MIN: f64 = 0.1;

/// A kind that is declared.
pub struct Kind {
    /// Its name.
    pub name: String,
    /// Its section.
    pub config: KindConfig,
    /// Uses per key, median: whether its own rhythm is worth keeping.
    pub uses_per_key: u64,
}

/// Chooses kinds, most used first.
pub fn propose(
    report: &Report,
    time: &Time,
    unit: LabelUnit,
    notes: &mut Vec<String>,
) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    let mut beyond = Vec::new();
    for seen in &report.kinds {
        if let Some(reason) = useless(seen, report.events) {
            notes.push(format!("Kind `{}` is left out: {reason}.", seen.name));
        } else if kinds.len() == KINDS_MAX {
            beyond.push(format!("`{}`", seen.name));
        } else {
            // Every one of them brings two profiles of another account into the vector.
            let room = kinds.iter().filter(|kind: &&Kind| kind.config.is_account).count()
                < ACCOUNT_KINDS_MAX;
            let is_account = is_account(seen, report.accounts.distinct);
            if is_account && !room {
                notes.push(format!(
                    "The keys of `{}` are accounts, but only {ACCOUNT_KINDS_MAX} such kinds are read that way; it is kept as a thing that accounts share.",
                    seen.name
                ));
            }
            kinds.push(kind(seen, is_account && room, (report, time, unit), notes));
        }
    }
    if !beyond.is_empty() || report.kinds_beyond > 0 {
        notes.push(format!(
            "Only the {KINDS_MAX} most used kinds are declared; left out: {}{}.",
            beyond.join(", "),
            if report.kinds_beyond > 0 { " and more" } else { "" }
        ));
    }
    kinds
}

fn useless(seen: &KeysReport, events: u64) -> Option<String> {
    if !names::is_kind(&seen.name) {
        return Some("its name means something else in features, or holds blanks, quotes or brackets; rename it in a mapping".into());
    }
    if seen.distinct <= 1 && events >= 100 {
        return Some("it has one key only, which says nothing".into());
    }
    if seen.distinct >= 1000 && seen.once_share >= 0.999 {
        return Some(format!("its {} keys occur once each, like ids of events", seen.distinct));
    }
    None
}

fn kind(
    seen: &KeysReport,
    is_account: bool,
    (report, time, unit): (&Report, &Time, LabelUnit),
    notes: &mut Vec<String>,
) -> Kind {
    let mut config = KindConfig::default();
    let [accounts_half, accounts_most, accounts_nearly_all, accounts_max] = seen.accounts_per_key;
    let account_ttl_ms =
        features::duration::parse_ms(&time.config.account_ttl).unwrap_or(0).unsigned_abs();
    let reuse_ms =
        seen.reuse_gap_ms[1].saturating_mul(3).max(time.half_lives_ms[3].saturating_mul(4));
    let spread = format!(
        "{}{} keys; accounts per key: half have {accounts_half}, 90 % up to {accounts_most}, 99 % up to {accounts_nearly_all}, at most {accounts_max}",
        if seen.complete { "" } else { "about " },
        seen.distinct,
    );
    let why;
    let mut copied = String::new();
    if !is_account {
        let copyable = copyable(seen, report, unit);
        config.copyable = Some(copyable.is_some());
        copied = copyable.map_or_else(String::new, |reason| format!("; copyable: {reason}"));
    }
    if is_account {
        config.is_account = true;
        config.weight = 0.5;
        config.ttl = text(account_ttl_ms.max(D));
        why = format!(
            "{:.0} % of its keys act as accounts too: its keys are accounts",
            seen.account_overlap * 100.0
        );
    } else if let Some(binding) = binds(seen, report) {
        config.strong = true;
        // Binding things are handed on (refurbished devices, recycled numbers), but slowly.
        config.ttl = text(at_least(reuse_ms).clamp(180 * D, 400 * D));
        why = format!("strong: {binding}");
    } else {
        config.ttl = text(at_least(reuse_ms).clamp(30 * D, 180 * D));
        config.weight = match accounts_half {
            0..=16 => 0.5,
            17..=256 => 0.25,
            _ => 0.1,
        };
        why = "weak: shared by accounts that need not know one another".into();
    }
    config.ignore = ignored(seen, is_account, notes);
    // Nobody walks from what most of a crowd shares; the aggregates of such a key say enough.
    if accounts_half > 256 {
        config.expand_degree_max = 0;
    }
    notes.push(format!(
        "Kind `{}`: {spread}; {why}{copied}. Its keys come back within {} (99 %): forgotten after {}.",
        seen.name,
        rough(seen.reuse_gap_ms[1]),
        config.ttl
    ));
    Kind { name: seen.name.clone(), config, uses_per_key: seen.uses_per_key[0] }
}

/// Why anybody can use a key of this kind without having the thing, or `None`: then what is known against others on
/// it counts by itself.
fn copyable(seen: &KeysReport, report: &Report, unit: LabelUnit) -> Option<&'static str> {
    let name = seen.name.to_ascii_lowercase();
    let mut words = name.split(|c: char| !c.is_alphanumeric());
    if words.any(|word| CONTENT_WORDS.contains(&word)) {
        return Some("its name says that it is a copy of something");
    }
    // Some keys have many accounts, and hardly any account comes back to its key.
    let crowd = seen.accounts_per_key[3] > UNION_DEGREE_MAX;
    if crowd && seen.pairs.returned_share < RETURNED_MIN && report.clock.span_ms >= 7 * D {
        return Some("crowds use its keys, and hardly anybody comes back to one");
    }
    // Where events are labelled, what is shared by strangers (a terminal) is judged by them.
    let strangers = unit == LabelUnit::Account && binds(seen, report).is_none();
    strangers.then_some("it is shared by accounts that need not know one another")
}

/// The placeholders of a kind. Keys may be personal, and notes are printed: they hold numbers only.
fn ignored(seen: &KeysReport, is_account: bool, notes: &mut Vec<String>) -> Vec<String> {
    // An account that many others meet is large, and an account.
    let chosen: Vec<_> = seen.placeholders.iter().filter(|p| p.known || !is_account).collect();
    if chosen.is_empty() {
        return Vec::new();
    }
    let listed: Vec<String> = chosen.iter().map(|found| found.accounts.to_string()).collect();
    let unknown = chosen.iter().filter(|found| !found.known).count();
    notes.push(format!(
        "Kind `{}`: {} of its keys look like placeholders and are listed in its `ignore`, in this order: on about {} of the {} \
         accounts that name the kind. It is judged without them.{}",
        seen.name,
        chosen.len(),
        listed.join(", "),
        seen.accounts,
        if unknown > 0 {
            format!(
                " The spelling of {unknown} of them is no known one, but they are on far more accounts than any other key: \
                 look at them, a farm of accounts behind one thing would look the same."
            )
        } else {
            String::new()
        }
    ));
    chosen.iter().map(|found| found.key.clone()).collect()
}

/// Whether the keys of a kind are accounts. Small numbers may be equal by accident, and need more: a
/// name that says so, or pairs that meet both ways.
fn is_account(seen: &KeysReport, accounts: u64) -> bool {
    if seen.account_overlap < 0.3 || seen.distinct < 3 {
        return false;
    }
    let name = seen.name.to_ascii_lowercase();
    let named = ACCOUNT_WORDS.iter().any(|word| name.contains(word));
    let says_who_acts = seen.self_share > 0.5;
    // Of pairs drawn at random, so many meet both ways by accident.
    let accident =
        seen.pairs.distinct as f64 / (seen.distinct as f64 * accounts.max(1) as f64 / 2.0);
    let mutual = seen.pairs.mutual_share >= 0.05 + 3.0 * accident;
    !says_who_acts && (!seen.dense_numbers || named || mutual)
}

/// Why a kind binds its accounts to one another: few accounts per key, few keys per account, and no
/// component that swallows everybody.
fn binds(seen: &KeysReport, report: &Report) -> Option<String> {
    let few_accounts = seen.accounts_per_key[1] <= 6
        && seen.accounts_per_key[2] <= 24
        && seen.hub_link_share <= 0.2;
    let few_keys = seen.keys_per_account[0] <= 8 && seen.keys_per_account[1] <= 32;
    let component_max = (report.accounts.distinct / 20).max(50);
    let apart = seen.component_accounts <= component_max;
    let enough = seen.distinct >= 20 || report.events < 1000;
    (few_accounts && few_keys && apart && enough).then(|| {
        format!(
            "few accounts share a key, an account has {} of them (median), and the largest group that they join has {} accounts",
            seen.keys_per_account[0], seen.component_accounts
        )
    })
}
