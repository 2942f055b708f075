//! Scenarios as tables, and what must hold for any rules and any events.

// The tables are files, so that `BLESS=1 cargo test -p engine policy` can rewrite them.
#![allow(clippy::disallowed_methods)]

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
        let mut context =
            DecideContext { ts_ms, account_allowed: self.policy.frees(who, &[]), warm: true };
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
                    context.account_allowed |= self.policy.frees(who, &[thing]);
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

/// One event of the properties: whose, when, score in hundredths.
#[derive(Clone, Debug)]
struct Seen {
    account: usize,
    ts_ms: i64,
    score: f32,
}

fn rule_strategy() -> impl Strategy<Value = RuleConfig> {
    (0..=6_u8, 0..10_u8, prop::option::of(1..72_i64), 0..48_i64, prop::bool::weighted(0.2))
        .prop_map(|(action, tenths, expires_h, cooldown_h, shadow)| {
            let action = ActionKind::from_byte(action).expect("a kind");
            RuleConfig {
                when: format!("score > 0.{tenths}"),
                action,
                expires: expires_h
                    .filter(|_| action != ActionKind::Allow)
                    .map(|hours| format!("{hours}h")),
                cooldown: Some(format!("{cooldown_h}h")),
                shadow,
                ..RuleConfig::default()
            }
        })
}

fn policy_strategy() -> impl Strategy<Value = (PolicyConfig, Vec<RuleConfig>)> {
    let caps = prop::collection::btree_map(1..=6_u8, 0..4_u32, 0..4);
    (caps, prop::collection::vec(rule_strategy(), 1..9)).prop_map(|(caps, mut rules)| {
        for (index, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("r{index}");
        }
        let caps = caps
            .into_iter()
            .filter_map(|(kind, cap)| ActionKind::from_byte(kind).map(|kind| (kind, cap)));
        let config = PolicyConfig {
            caps_per_hour: caps.collect(),
            cooldown: "6h".into(),
            allow_accounts: vec!["0".into()],
            ..PolicyConfig::default()
        };
        (config, rules)
    })
}

/// Events of four accounts over some days, each up to `late_ms` behind the one before.
fn events_strategy(late_ms: i64) -> impl Strategy<Value = Vec<Seen>> {
    let event = (0..4_usize, 0..3 * HOUR_MS, 0..100_i64, 0..=late_ms);
    prop::collection::vec(event, 0..120).prop_map(|events| {
        let mut newest_ms = 0;
        let to_seen = |(account, step_ms, hundredths, late_ms): (usize, i64, i64, i64)| {
            newest_ms += step_ms;
            let ts_ms = (newest_ms - late_ms).max(0);
            Seen { account, ts_ms, score: hundredths as f32 / 100.0 }
        };
        events.into_iter().map(to_seen).collect()
    })
}

/// All decisions over the events, with the index of the event; through bytes at every step if `saved`.
fn decide_all(policy: &Policy, events: &[Seen], saved: bool) -> Vec<(usize, Decision)> {
    let mut states: [AccountPolicyState; 4] = Default::default();
    let mut caps = CapState::default();
    let mut all = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let state = &mut states[event.account];
        if saved {
            *state = AccountPolicyState::from_bytes(&state.to_bytes()).expect("a state");
            caps = CapState::from_bytes(&caps.to_bytes()).expect("caps");
        }
        let scores = ScoreView { score: event.score, ..ScoreView::default() };
        let context = DecideContext {
            ts_ms: event.ts_ms,
            account_allowed: policy.frees(&event.account.to_string(), &[]),
            warm: true,
        };
        let before = state.clone();
        let decisions = policy.decide(&[], &scores, &context, state, &mut caps);
        assert!(!decisions.is_empty() || *state == before, "no decision, but another record");
        all.extend(decisions.into_iter().map(|decision| (index, decision)));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_same_events_give_the_same_decisions_restarted_or_not(
        (config, rules) in policy_strategy(),
        events in events_strategy(DAY_MS),
    ) {
        let policy = compile(&config, &rules).expect("a policy");
        let once = decide_all(&policy, &events, false);
        prop_assert_eq!(&once, &decide_all(&policy, &events, false));
        prop_assert_eq!(&once, &decide_all(&policy, &events, true));
    }

    #[test]
    fn no_hour_has_more_actions_than_its_cap(
        (config, rules) in policy_strategy(),
        events in events_strategy(DAY_MS),
    ) {
        let policy = compile(&config, &rules).expect("a policy");
        let mut newest_hour = 0;
        let mut counts: BTreeMap<(i64, ActionKind), u32> = BTreeMap::new();
        let decisions = decide_all(&policy, &events, false);
        for (index, event) in events.iter().enumerate() {
            for (_, decision) in decisions.iter().filter(|(at, d)| *at == index && !d.shadow) {
                newest_hour = newest_hour.max(event.ts_ms / HOUR_MS);
                *counts.entry((newest_hour, decision.action)).or_default() += 1;
            }
        }
        for ((hour, action), count) in counts {
            if let Some(cap) = config.caps_per_hour.get(&action) {
                prop_assert!(count <= *cap, "{count} {action} in hour {hour}, cap {cap}");
            }
        }
    }

    /// In order, with any number of rules; a late event is inside of every cool-down that began after it.
    #[test]
    fn a_rule_acts_once_per_cool_down(
        (config, rules) in policy_strategy(),
        events in events_strategy(0),
    ) {
        let policy = compile(&config, &rules).expect("a policy");
        let mut last: BTreeMap<(usize, u16), i64> = BTreeMap::new();
        for (index, decision) in decide_all(&policy, &events, false) {
            let event = &events[index];
            let rule = &policy.rules()[usize::from(decision.rule)];
            let key = (event.account, decision.rule);
            if let Some(before_ms) = last.insert(key, event.ts_ms) {
                if decision.shadow {
                    let period = |ts_ms: i64| ts_ms / (6 * HOUR_MS);
                    prop_assert!(period(event.ts_ms) > period(before_ms));
                } else {
                    prop_assert!(event.ts_ms - before_ms >= rule.cooldown_ms);
                }
            }
        }
    }

    #[test]
    fn a_milder_or_equal_action_does_not_repeat_one_in_force(
        (config, rules) in policy_strategy(),
        events in events_strategy(DAY_MS),
    ) {
        let policy = compile(&config, &rules).expect("a policy");
        let mut in_force: BTreeMap<usize, (ActionKind, i64)> = BTreeMap::new();
        for (index, decision) in decide_all(&policy, &events, false) {
            let event = &events[index];
            if decision.shadow {
                continue;
            }
            if let Some((action, until_ms)) = in_force.get(&event.account) {
                prop_assert!(decision.action > *action || event.ts_ms >= *until_ms);
            }
            if let Some(end_ms) = decision.expires_at_ms {
                in_force.insert(event.account, (decision.action, end_ms));
            } else if decision.action.lasts() {
                in_force.insert(event.account, (decision.action, i64::MAX));
            } else {
                in_force.remove(&event.account);
            }
        }
    }

    #[test]
    fn allowed_accounts_are_never_acted_on_and_allow_is_never_decided(
        (config, rules) in policy_strategy(),
        events in events_strategy(DAY_MS),
    ) {
        let policy = compile(&config, &rules).expect("a policy");
        for (index, decision) in decide_all(&policy, &events, false) {
            prop_assert_ne!(events[index].account, 0);
            prop_assert_ne!(decision.action, ActionKind::Allow);
        }
    }

    #[test]
    fn the_kill_switch_stops_everything_and_shadow_all_too(
        (config, rules) in policy_strategy(),
        events in events_strategy(DAY_MS),
        shadow in any::<bool>(),
    ) {
        let config = PolicyConfig { kill_switch: !shadow, shadow, ..config };
        let policy = compile(&config, &rules).expect("a policy");
        let decisions = decide_all(&policy, &events, false);
        prop_assert!(decisions.iter().all(|(_, decision)| decision.shadow));
    }

    /// What was published, put back in the order of each account, leaves the same records as deciding did; and the same counts in
    /// any order of all, here from the last one to the first.
    #[test]
    fn putting_back_equals_deciding(
        (config, rules) in policy_strategy(),
        events in events_strategy(DAY_MS),
    ) {
        let policy = compile(&config, &rules).expect("a policy");
        let mut decided: [AccountPolicyState; 4] = Default::default();
        let mut put_back: [AccountPolicyState; 4] = Default::default();
        let (mut caps, mut caps_back) = (CapState::default(), CapState::default());
        let mut counted = Vec::new();
        for (index, event) in events.iter().enumerate() {
            let scores = ScoreView { score: event.score, ..ScoreView::default() };
            let context = DecideContext { ts_ms: event.ts_ms, account_allowed: false, warm: true };
            let state = &mut decided[event.account];
            for decision in policy.decide(&[], &scores, &context, state, &mut caps) {
                let mut action_id = [1; 16];
                action_id[..8].copy_from_slice(&(index as u64).to_le_bytes());
                if !decision.shadow {
                    state.name_action(action_id, index as u64);
                }
                let published = Published {
                    action: decision.action,
                    rule: &policy.rules()[usize::from(decision.rule)].name,
                    at_ms: event.ts_ms,
                    expires_at_ms: decision.expires_at_ms,
                    action_id,
                    event_hash: index as u64,
                    shadow: decision.shadow,
                };
                let forgotten = policy.apply_published(&published, &mut put_back[event.account]);
                prop_assert_eq!(forgotten, None, "the rules never fill a record");
                prop_assert_eq!(decision.cap_hour.is_none(), decision.shadow);
                counted.extend(decision.cap_hour.map(|hour| (decision, hour)));
            }
            let kinds: Vec<ActionKind> =
                decided[event.account].actions().iter().map(|taken| taken.action).collect();
            prop_assert!(kinds.is_sorted_by(|a, b| a < b), "each is harder: {:?}", kinds);
            if event.score > 0.9 {
                let state = &mut decided[event.account];
                for undone in policy.on_cleared(state, event.ts_ms, |_| true) {
                    policy.apply_reversed(&mut put_back[event.account], undone.action_id);
                }
            }
        }
        for (decision, hour) in counted.into_iter().rev() {
            Policy::count_published(decision.action, decision.degraded_from, hour, &mut caps_back);
        }
        prop_assert_eq!(decided, put_back);
        for kind in ActionKind::ALL {
            prop_assert_eq!(caps.published_this_hour(kind), caps_back.published_this_hour(kind));
            prop_assert_eq!(caps.degraded_total(kind), caps_back.degraded_total(kind));
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(state) = AccountPolicyState::from_bytes(&bytes) {
            prop_assert_eq!(AccountPolicyState::from_bytes(&state.to_bytes()), Ok(state));
        }
        let mut fitting = bytes;
        let length = AccountPolicyState::default().to_bytes().len();
        fitting.resize(length.max(fitting.len()), 3);
        fitting[..2].copy_from_slice(&[2, 0]);
        fitting.truncate(length);
        if let Ok(mut state) = AccountPolicyState::from_bytes(&fitting) {
            let policy = compile(&PolicyConfig::default(), &default_rules(&[])).expect("a policy");
            let scores = ScoreView { score: 1.0, ..ScoreView::default() };
            for ts_ms in [0, i64::MAX, -1, i64::MIN] {
                let context = DecideContext { ts_ms, account_allowed: false, warm: true };
                policy.decide(&[], &scores, &context, &mut state, &mut CapState::default());
                policy.on_cleared(&mut state, ts_ms, |_| true);
            }
        }
    }
}
