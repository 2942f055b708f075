//! Scenarios as tables, and what must hold for any rules and any events.

// The tables are files, so that `BLESS=1 cargo test -p engine policy` can rewrite them.
#![allow(clippy::disallowed_methods)]

mod properties;

use super::*;
use features::event::{EntityRef, KindId};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

const COLUMNS: [&str; 3] = ["account.messages.in_10m", "account.age_days", "account.events.10m"];
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    policy: PolicyConfig,
    #[serde(default)]
    rules: Vec<RuleConfig>,
}

fn columns() -> Vec<String> {
    COLUMNS.iter().map(|name| (*name).to_owned()).collect()
}

fn compile_file(toml: &str) -> Result<Policy, Vec<PolicyError>> {
    let file: File = toml::from_str(toml).unwrap_or_else(|error| panic!("{error}"));
    compile(&file.policy, &file.rules)
}

fn compile(config: &PolicyConfig, rules: &[RuleConfig]) -> Result<Policy, Vec<PolicyError>> {
    let columns = columns();
    let vocabulary = Vocabulary::new(&columns, &|_| None, &BTreeMap::new());
    Policy::compile(config, rules, &kinds(), vocabulary)
}

/// The one kind `ip`.
fn kinds() -> Vec<features::schema::Kind> {
    let mut config = features::config::FeatureConfig::default();
    config.kinds.insert("ip".into(), features::config::KindConfig::default());
    features::schema::Schema::compile(&config).expect("a schema").kinds().to_vec()
}

/// Plays the table of a file of `scenarios/` and compares what is decided with what stands there.
fn check(name: &str) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("src/policy/scenarios").join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (toml, table) = text.split_once("---\n").expect("configuration, `---`, table");
    let policy = compile_file(toml).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
    let mut play = Play { policy: &policy, accounts: BTreeMap::new(), caps: CapState::default() };
    let mut found = format!("{toml}---\n");
    for line in table.lines() {
        let (left, _) = line.split_once('|').expect("a bar in every line");
        if left.starts_with("at ") {
            let _ = writeln!(found, "{left}| decision because");
            continue;
        }
        let decided = play.line(left);
        let _ = writeln!(found, "{left}| {decided}");
    }
    if found == text {
        return;
    }
    if std::env::var("BLESS").is_ok() {
        std::fs::write(&path, &found).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        return;
    }
    panic!("{} differs; this was decided:\n{found}", path.display());
}

struct Play<'a> {
    policy: &'a Policy,
    accounts: BTreeMap<String, AccountPolicyState>,
    caps: CapState,
}

/// What stands for an action that was decided at a moment, and for the event that led to it.
fn id_byte(ts_ms: i64) -> u8 {
    u8::try_from(ts_ms / MINUTE_MS % 251).expect("small")
}

fn event_hash(ts_ms: i64) -> u64 {
    u64::try_from(ts_ms).expect("not negative") + 1
}

/// Milliseconds of `HH:MM`.
fn ms(text: &str) -> i64 {
    let (hours, minutes) = text.split_once(':').expect("HH:MM");
    hours.parse::<i64>().expect("hours") * HOUR_MS
        + minutes.parse::<i64>().expect("minutes") * MINUTE_MS
}

fn time(ts_ms: i64) -> String {
    format!("{:02}:{:02}", ts_ms / HOUR_MS, ts_ms % HOUR_MS / MINUTE_MS)
}

impl Play<'_> {
    fn line(&mut self, left: &str) -> String {
        let mut words = left.split_whitespace();
        let ts_ms = ms(words.next().expect("HH:MM"));
        let who = words.next().expect("who");
        let state = self.accounts.entry(who.to_owned()).or_default();
        let mut row = [f32::NAN; COLUMNS.len()];
        let mut scores = ScoreView::default();
        let mut context = DecideContext {
            now_ms: ts_ms,
            account_allowed: self.policy.frees(who, &[], 0),
            warm: true,
        };
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "clear" => {
                    // `clear=HH:MM` clears the event of that time, `clear` the account.
                    let event = (!value.is_empty()).then(|| event_hash(ms(value)));
                    let is_meant =
                        |taken: &ActionTaken| event.is_none_or(|hash| hash == taken.event_hash);
                    let undone = self.policy.on_cleared(state, ts_ms, is_meant);
                    let word = |undo: &Reversal| {
                        format!("reverse {} of {}", undo.action, undo.action_id[0])
                    };
                    let words: Vec<String> = undone.iter().map(word).collect();
                    return if words.is_empty() { "-".to_owned() } else { words.join("; ") };
                }
                "published" => {
                    let (action, rule) = value.split_once(':').expect("action:rule");
                    let published = Published {
                        action: ActionKind::from_name(action).expect("an action"),
                        rule,
                        at_ms: ts_ms,
                        expires_at_ms: None,
                        action_id: [id_byte(ts_ms); 16],
                        event_hash: event_hash(ts_ms),
                        shadow: false,
                    };
                    self.policy.apply_published(&published, state);
                    let hour = self.caps.hour_now(ts_ms);
                    Policy::count_published(published.action, None, hour, &mut self.caps);
                    return "put back".to_owned();
                }
                "cold" => context.warm = false,
                "score" => scores.score = value.parse().expect("a score"),
                "ip" => {
                    let thing = EntityRef { kind: KindId(0), key: value.into() };
                    context.account_allowed |= self.policy.frees(who, &[thing], 0);
                }
                _ => {
                    let column = COLUMNS.iter().position(|name| *name == key).expect("a column");
                    row[column] = value.parse().expect("a value");
                }
            }
        }
        let decisions = self.policy.decide(&row, &scores, &context, state, &mut self.caps);
        if decisions.iter().any(|decision| !decision.shadow) {
            state.name_action([id_byte(ts_ms); 16], event_hash(ts_ms));
        }
        // Whatever was decided survives a checkpoint.
        assert_eq!(AccountPolicyState::from_bytes(&state.to_bytes()).as_ref(), Ok(&*state));
        assert_eq!(CapState::from_bytes(&self.caps.to_bytes()), Ok(self.caps));
        let words: Vec<String> = decisions.iter().map(|decision| self.words(decision)).collect();
        if words.is_empty() { "-".to_owned() } else { words.join("; ") }
    }

    fn words(&self, decision: &Decision) -> String {
        let shadow = if decision.shadow { "(shadow) " } else { "" };
        let rule = &self.policy.rules()[usize::from(decision.rule)].name;
        let until = decision.expires_at_ms.map(|end| format!(" until {}", time(end)));
        let instead = decision.degraded_from.map(|from| format!(" instead of {from}"));
        format!(
            "{shadow}{} {rule}{}{}",
            decision.action,
            until.unwrap_or_default(),
            instead.unwrap_or_default()
        )
    }
}

#[test]
fn graded_rules_act_once_and_can_be_undone() {
    check("graded");
}

#[test]
fn caps_make_actions_milder() {
    check("caps");
}

#[test]
fn brakes_hold_everything() {
    check("brakes");
}

#[test]
fn a_warm_up_leaves_no_trace() {
    check("warm_up");
}

#[test]
fn published_actions_are_put_back() {
    check("put_back");
}

#[test]
fn clearing_an_account_undoes_every_action_in_force() {
    check("lasting");
}

#[test]
fn a_record_at_its_cap_says_which_action_it_forgets() {
    let policy = compile(&PolicyConfig::default(), &[]).expect("a policy");
    let mut state = AccountPolicyState::default();
    let mut put = |n: u8, action| {
        let published = Published {
            action,
            rule: "gone",
            at_ms: i64::from(n),
            expires_at_ms: None,
            action_id: [n; 16],
            event_hash: n.into(),
            shadow: false,
        };
        let forgotten = policy.apply_published(&published, &mut state);
        // A record that is read back has what one in memory has.
        state = AccountPolicyState::from_bytes(&state.to_bytes()).expect("a state");
        forgotten.map(|taken| taken.action_id[0])
    };
    let max = u8::try_from(ACTIONS_MAX).expect("small");
    let kinds = [ActionKind::Suspend, ActionKind::RateLimit, ActionKind::Ban];
    for n in 1..=max {
        assert_eq!(put(n, kinds[usize::from(n) % 3]), None, "there is room for {n}");
    }
    assert_eq!(put(max, ActionKind::Ban), None, "the same action again");
    assert_eq!(put(100, ActionKind::Ban), Some(1), "the oldest of the mildest goes");
    assert_eq!(put(101, ActionKind::RateLimit), Some(4), "then the next of them");
    let undone = policy.on_cleared(&mut state, 200, |_| true);
    let ids: std::collections::BTreeSet<_> = undone.iter().map(|undo| undo.action_id).collect();
    assert_eq!((undone.len(), ids.len()), (ACTIONS_MAX, ACTIONS_MAX));
    assert_eq!(state.last(), None);
}

#[test]
fn a_record_of_one_action_is_read() {
    // Version 1: a suspension by the rule `r`, with an end, and one rule that is quiet.
    let tag = super::compile::rule_tag("r").to_le_bytes();
    let mut bytes = vec![1, ActionKind::Suspend as u8, 1, 0];
    bytes.extend(tag);
    for moment in [1_000_i64, 9_000, 9_000] {
        bytes.extend(moment.to_le_bytes());
    }
    bytes.extend([7; 16]);
    bytes.extend(tag);
    bytes.push(ActionKind::Suspend as u8);
    bytes.extend(5_000_i64.to_le_bytes());
    bytes.resize(bytes.len() + 4 * 13 + 16, 0);
    let mut state = AccountPolicyState::from_bytes(&bytes).expect("a state");
    let last = *state.last().expect("an action");
    assert_eq!(
        (last.action, last.at_ms, last.expires_at_ms),
        (ActionKind::Suspend, 1_000, Some(9_000))
    );
    assert_eq!((last.action_id, last.event_hash), ([7; 16], 0));
    assert_eq!(state.quiet(4_000).len(), 1);
    assert!(state.covers(ActionKind::Review, 8_999) && !state.covers(ActionKind::Review, 9_000));
    assert_eq!(AccountPolicyState::from_bytes(&state.to_bytes()), Ok(state.clone()));
    let policy = compile(&PolicyConfig::default(), &[]).expect("a policy");
    let undone = policy.on_cleared(&mut state, 8_000, |_| true);
    assert_eq!(undone.as_slice(), [Reversal { action_id: [7; 16], action: ActionKind::Suspend }]);
    bytes.pop();
    assert!(matches!(AccountPolicyState::from_bytes(&bytes), Err(StateError::Length { .. })));
}

#[test]
fn all_errors_come_at_once() {
    let errors = compile_file(
        r#"
        [policy]
        warm_up = "soon"
        caps_per_hour = { allow = 1 }
        allow_entities = ["ip"]
        thresholds = { "a-b" = 1.0 }

        [[rules]]
        name = "one"
        when = "scroe > threshold.review"
        action = "allow"
        expires = "1d"
        reason = "{accont.age_days} days"

        [[rules]]
        name = "one"
        when = "score > threshold.reviw"
        action = "ban"
        expires = "0s"
        user_reason = "{score}"

        [[rules]]
        name = "Two words"
        when = "score > 1"
        reason = "{score"
        "#,
    )
    .expect_err("nearly everything is wrong");
    let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let expected = [
        "policy.thresholds.a-b (1) must be a finite number with a name of letters, digits and `_`",
        "policy.warm_up: `soon` is not a duration: a whole number comes first; write for example `10m`",
        "policy.caps_per_hour.allow: `allow` is never published; remove it",
        "policy.allow_entities: `ip` is not `kind:key`; write for example `ip:203.0.113.7`",
        "rules.one.when: unknown name `scroe` (at line 1 column 1); did you mean `score`?",
        "rules.one.expires has no meaning for `allow`, which does nothing; remove it",
        "rules.one.reason: unknown name `{accont.age_days}`; did you mean `{account.age_days}`?; \
         write `{{` for a brace",
        "rules[1] and rules[0] are both named `one`; rename one",
        "rules.one.when: unknown name `threshold.reviw` (at line 1 column 9); did you mean \
         `threshold.review`?",
        "rules.one.expires is no time at all; remove it",
        "rules.one.user_reason has a brace; it is read by the account's owner and cannot quote \
         values, move them to `reason`",
        "rules[2].name is `Two words`; use lower-case letters, digits, `_`, `-` and `.`, at most 64 \
         of them",
        "rules.Two words.reason: `{` is never closed; write `{{` for a brace",
    ];
    assert_eq!(found, expected);
}

#[test]
fn unknown_keys_are_refused() {
    assert!(toml::from_str::<File>("[policy]\nkillswitch = true").is_err());
    assert!(toml::from_str::<File>("[policy]\n[[rules]]\nactoin = \"ban\"").is_err());
    assert!(toml::from_str::<File>("[policy]\n[[rules]]\naction = \"shoot\"").is_err());
}

#[test]
fn reasons_quote_values() {
    let rule = RuleConfig {
        name: "r".into(),
        when: "true".into(),
        reason: "{account.age_days} days, score {score} > {threshold.review}, {{as is}}, \
                 {account.events.10m}"
            .into(),
        ..RuleConfig::default()
    };
    let policy = compile(&PolicyConfig::default(), &[rule]).expect("a policy");
    let scores = ScoreView { score: 0.901_23, ..ScoreView::default() };
    let reason = policy.reason(0, &[1.0, 3000.0, f32::NAN], &scores);
    assert_eq!(reason, "3000 days, score 0.901 > 0.85, {as is}, unknown");
    assert_eq!(policy.reason(9, &[], &scores), "", "a rule that does not exist");
}

#[test]
fn reasons_quote_categories_as_text() {
    let rule = RuleConfig {
        name: "r".into(),
        when: "account.age_days != \"NL\"".into(),
        reason: "from {account.age_days}".into(),
        ..RuleConfig::default()
    };
    let (columns, countries) = (columns(), ["NL", "BE"].map(String::from));
    let values = |name: &str| (name == COLUMNS[1]).then_some(countries.as_slice());
    let vocabulary = Vocabulary::new(&columns, &values, &BTreeMap::new());
    let policy = Policy::compile(&PolicyConfig::default(), &[rule], &[], vocabulary)
        .unwrap_or_else(|errors| panic!("{errors:?}"));
    for (value, text) in [
        (0.0, "from NL"),
        (1.0, "from BE"),
        (2.0, "from another value"),
        (f32::NAN, "from unknown"),
    ] {
        assert_eq!(policy.reason(0, &[1.0, value], &ScoreView::default()), text);
    }
}

#[test]
fn the_id_changes_with_the_configuration_and_only_with_it() {
    let rules = default_rules(&columns());
    let config = PolicyConfig::default();
    let id = compile(&config, &rules).expect("a policy").id().to_owned();
    assert_eq!(id.len(), 16);
    assert_eq!(compile(&config, &rules).expect("a policy").id(), id);
    let other = PolicyConfig { shadow: true, ..config.clone() };
    assert_ne!(compile(&other, &rules).expect("a policy").id(), id);
    assert_ne!(compile(&config, &rules[1..]).expect("a policy").id(), id);
}

#[test]
fn default_rules_compile_with_any_columns() {
    let graph = [
        "graph.component.size",
        "graph.component.bad_fraction",
        "graph.component.growth",
        "graph.component.age_h",
        "graph.device.new_short",
        "graph.device.age_h",
        "graph.Credit-Card.new_short",
        "graph.Credit-Card.age_h",
        "graph.in.new_short",
        "graph.in.age_h",
        "graph.target.new_short",
        "graph.target.age_h",
        "graph.target.reciprocal_count",
    ];
    let all = graph.map(str::to_owned);
    for names in [&all[..], &all[..6], &all[2..3], &[]] {
        let rules = default_rules(names);
        let thresholds = BTreeMap::new();
        let vocabulary = Vocabulary::new(names, &|_| None, &thresholds);
        let policy = Policy::compile(&PolicyConfig::default(), &rules, &[], vocabulary)
            .unwrap_or_else(|errors| panic!("{names:?}: {errors:?}"));
        assert!(policy.rules().iter().all(Rule::is_compiled));
    }
    let names: Vec<String> = default_rules(&all).into_iter().map(|rule| rule.name).collect();
    assert_eq!(
        names,
        [
            "score_ban",
            "score_suspend",
            "ring_of_known_bad",
            "score_review",
            "ring_of_new_accounts",
            "crowded_device",
            "crowded_credit_card",
            "crowded_in",
            "score_challenge"
        ]
    );
    let without: Vec<String> = default_rules(&[]).into_iter().map(|rule| rule.name).collect();
    assert_eq!(without, ["score_ban", "score_suspend", "score_review", "score_challenge"]);
}

#[test]
fn damaged_states_are_errors() {
    let mut state = AccountPolicyState::default();
    state.note_action(ActionTaken { action: ActionKind::Ban, ..ActionTaken::default() });
    let mut bytes = state.to_bytes();
    let length = bytes.len();
    assert_eq!(
        AccountPolicyState::from_bytes(&bytes[..length - 1]),
        Err(StateError::Length { found: length - 1, expected: length })
    );
    let action_at = AccountPolicyState::default().to_bytes().len();
    for wrong in [0, 7] {
        bytes[action_at] = wrong;
        let found = AccountPolicyState::from_bytes(&bytes);
        assert_eq!(found, Err(StateError::Action { found: wrong }));
    }
    let each = length - action_at;
    let mut many = bytes.clone();
    many[1] = 17;
    many.resize(action_at + 17 * each, 0);
    assert_eq!(
        AccountPolicyState::from_bytes(&many),
        Err(StateError::Actions { found: 17, max: ACTIONS_MAX })
    );
    bytes[0] = 9;
    assert_eq!(
        AccountPolicyState::from_bytes(&bytes),
        Err(StateError::Version { found: 9, expected: 2 })
    );
    assert!(AccountPolicyState::from_bytes(&[]).is_err());
    assert!(CapState::from_bytes(&[]).is_err());
}
