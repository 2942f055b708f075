//! Random policies over random events: what holds for all of them.

use super::*;

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
            now_ms: event.ts_ms,
            account_allowed: policy.frees(&event.account.to_string(), &[], 0),
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
            let context = DecideContext { now_ms: event.ts_ms, account_allowed: false, warm: true };
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
                let context = DecideContext { now_ms: ts_ms, account_allowed: false, warm: true };
                policy.decide(&[], &scores, &context, &mut state, &mut CapState::default());
                policy.on_cleared(&mut state, ts_ms, |_| true);
            }
        }
    }
}
