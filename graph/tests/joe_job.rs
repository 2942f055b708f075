//! The first members are not judged by later ones: every column about others' labels, with a joe-job and its control.

use graph::{GraphConfig, KindRules, LinkGraph, Node};
use std::collections::BTreeMap;

const DAY_MS: i64 = 86_400_000;
const VIEWER: u32 = 0;
const NEWCOMERS: std::ops::Range<u32> = 1..9;
/// Somebody whom the viewer acts on, and others may too.
const TARGET: u32 = 9;
const KINDS: [&str; 5] = ["", "device", "card", "ip", "content"];
const DEVICE: Node = Node::new(1, 0);
const CARD: Node = Node::new(2, 0);
const IP: Node = Node::new(3, 0);
const CONTENT: Node = Node::new(4, 0);
const EVERYTHING: [Node; 5] = [DEVICE, CARD, IP, CONTENT, Node::account(TARGET)];
/// What nobody can use without having it.
const HELD: [Node; 2] = [DEVICE, CARD];
const COPYABLE: [Node; 3] = [IP, CONTENT, Node::account(TARGET)];

fn graph() -> LinkGraph {
    let held = KindRules { strong: true, ..KindRules::default() };
    let weak = KindRules { copyable: true, ..KindRules::default() };
    let kinds = vec![weak, held, held, weak, KindRules { strong: true, ..weak }];
    let config = GraphConfig { kinds, roles: 1, ..GraphConfig::default() };
    let mut graph = LinkGraph::new(config).unwrap();
    for account in 0..=TARGET {
        assert!(graph.add_account(account, account.into()));
    }
    graph
}

/// A story: who uses what from which day on, and whether the newcomers are then labelled.
struct Story<'a> {
    viewer_day: i64,
    newcomers_day: i64,
    shared: &'a [Node],
    labelled: bool,
}

impl Story<'_> {
    fn tell(&self) -> LinkGraph {
        let mut graph = graph();
        graph.advance(90 * DAY_MS);
        let viewer = |graph: &mut LinkGraph| {
            for node in EVERYTHING {
                graph.touch(VIEWER, node, self.viewer_day * DAY_MS);
            }
        };
        if self.viewer_day < self.newcomers_day {
            viewer(&mut graph);
        }
        for newcomer in NEWCOMERS {
            let at = self.newcomers_day * DAY_MS + i64::from(newcomer);
            for node in self.shared {
                graph.touch(newcomer, *node, at);
            }
            // Their own things, so that they are not strange in themselves.
            graph.touch(newcomer, Node::new(1, 100 + newcomer), at);
        }
        if self.viewer_day >= self.newcomers_day {
            viewer(&mut graph);
        }
        for newcomer in NEWCOMERS {
            graph.set_bad(newcomer, self.labelled);
            graph.refresh_suspicion(newcomer);
        }
        // The viewer continues as before.
        for node in EVERYTHING {
            graph.touch(VIEWER, node, 100 * DAY_MS);
        }
        graph.refresh_suspicion(VIEWER);
        graph.check_invariants().unwrap();
        graph
    }

    /// The columns that others' labels move.
    fn columns(&self) -> BTreeMap<String, f32> {
        let graph = self.tell();
        let now = 100 * DAY_MS;
        let entities = [DEVICE, CARD, IP, CONTENT].map(|node| graph.peek(VIEWER, node));
        let target = graph.peek(VIEWER, Node::account(TARGET));
        let mut out = vec![0.0; graph.feature_count()];
        graph.features(VIEWER, &entities, &[Some(target)], now, &mut out);
        let names = graph.feature_names(&KINDS, &["target"]);
        let about =
            |name: &String| ["bad", "suspicion"].into_iter().any(|word| name.contains(word));
        let mut all: BTreeMap<String, f32> =
            names.into_iter().zip(out).filter(|(name, _)| about(name)).collect();
        let share = graph.co_share(VIEWER, 2);
        all.insert("co_share.bad".into(), share.bad as f32);
        all.insert("co_share.accounts".into(), share.accounts as f32);
        all
    }
}

fn raised(story: &Story<'_>) -> Vec<String> {
    let innocent = Story { labelled: false, ..*story }.columns();
    let raised = story.columns().into_iter().filter(|(name, value)| *value > innocent[name] + 1e-6);
    raised.map(|(name, _)| name).collect()
}

#[test]
fn newcomers_long_after_the_viewer_move_no_column() {
    for shared in [&EVERYTHING[..], &HELD, &COPYABLE, &[DEVICE], &[CONTENT]] {
        let story = Story { viewer_day: 60, newcomers_day: 90, shared, labelled: true };
        assert_eq!(raised(&story), [""; 0], "{shared:?}");
        assert_eq!(story.columns()["co_share.accounts"], 0.0, "{shared:?}");
        assert_eq!(story.columns()["graph.suspicion"], 0.0, "{shared:?}");
    }
}

#[test]
fn those_who_were_there_before_the_viewer_move_every_column_of_held_things() {
    let story = Story { viewer_day: 95, newcomers_day: 90, shared: &EVERYTHING, labelled: true };
    let raised = raised(&story);
    for name in [
        "graph.bad_rate.max_strong",
        "graph.bad_rate.mean",
        "graph.suspicion",
        "graph.component.bad_fraction",
        "graph.device.bad_rate",
        "graph.device.members_suspicion",
        "graph.card.bad_rate",
        "graph.card.members_suspicion",
        // In company of the held things, what can be copied says something too.
        "graph.ip.bad_rate",
        "graph.content.bad_rate",
        "graph.content.members_suspicion",
        "graph.target.bad_rate",
        "graph.target.members_suspicion",
        "co_share.bad",
    ] {
        assert!(raised.contains(&name.to_owned()), "{name} is not among {raised:?}");
    }
    assert_eq!(story.columns()["graph.component.bad_fraction"], 1.0);
}

#[test]
fn copyable_things_alone_move_no_column_in_any_order_of_arrival() {
    for day in [70, 90, 99] {
        let story = Story { viewer_day: day, newcomers_day: 90, shared: &COPYABLE, labelled: true };
        assert_eq!(raised(&story), [""; 0], "{day}");
        let graph = story.tell();
        assert_eq!(graph.component(VIEWER, 100 * DAY_MS).unwrap().size, 1);
        assert_eq!(graph.co_share(VIEWER, 2).accounts, 0);
    }
}

#[test]
fn guilt_fades_the_longer_the_viewer_was_there_before() {
    let at = |viewer_day| {
        let story = Story { viewer_day, newcomers_day: 90, shared: &[DEVICE], labelled: true };
        let graph = story.tell();
        let columns = story.columns();
        let rate = columns["graph.device.bad_rate"];
        (graph.guilt_counts(VIEWER, DEVICE), rate, columns["graph.component.bad_fraction"])
    };
    let mut last = (2.0, 2.0, 2.0);
    for (day, want) in
        [(95, 1.0), (90, 1.0), (88, 5.0 / 7.0), (85, 2.0 / 7.0), (83, 0.0), (60, 0.0)]
    {
        let found = at(day);
        assert!((found.0 - want).abs() < 0.01, "day {day}: {found:?}, not {want}");
        assert!((found.2 - want).abs() < 0.01, "day {day}: {found:?}, not {want}");
        assert!(found.0 <= last.0 && found.1 <= last.1, "day {day}: {found:?} after {last:?}");
        last = found;
    }
    let story = Story { viewer_day: 60, newcomers_day: 90, shared: &[DEVICE], labelled: true };
    assert_eq!(story.tell().guilt_counts(VIEWER, CONTENT), 0.0, "copyable");
    assert_eq!(story.tell().guilt_counts(VIEWER, Node::new(1, 999)), 1.0, "unknown");
    assert_eq!(story.tell().guilt_counts(3, DEVICE), 1.0, "the newcomers judge one another");
}

/// A bridge: an innocent newcomer joins the viewer's device, and guilty ones join the newcomer elsewhere.
#[test]
fn a_component_is_believed_only_through_its_members_nearby() {
    let mut graph = graph();
    graph.advance(90 * DAY_MS);
    graph.touch(VIEWER, DEVICE, 60 * DAY_MS);
    graph.touch(1, DEVICE, 95 * DAY_MS);
    for newcomer in NEWCOMERS {
        graph.touch(newcomer, CARD, 95 * DAY_MS);
        graph.set_bad(newcomer, newcomer > 1);
        graph.refresh_suspicion(newcomer);
    }
    graph.refresh_suspicion(1);
    graph.touch(VIEWER, DEVICE, 96 * DAY_MS);
    let component = graph.component(VIEWER, 96 * DAY_MS).unwrap();
    assert_eq!((component.size, component.bad), (9, 7));
    let names = graph.feature_names(&KINDS, &["target"]);
    let column = |account: u32, name: &str| {
        let mut out = vec![0.0; names.len()];
        graph.features(account, &[], &[None], 96 * DAY_MS, &mut out);
        out[names.iter().position(|n| n == name).unwrap()]
    };
    assert_eq!(column(VIEWER, "graph.component.bad_fraction"), 0.0);
    assert!(column(1, "graph.component.bad_fraction") > 0.8);
    assert!(column(2, "graph.component.bad_fraction") > 0.7);
}

#[test]
fn an_account_is_not_judged_by_who_sought_it() {
    for (first, second, judged) in [(5, 6, true), (6, 5, false), (5, 5, true)] {
        let mut graph = graph();
        let bad = 1;
        graph.set_bad(bad, true);
        graph.refresh_suspicion(bad);
        // The bad one seeks another bad one, so that its contacts are bad too.
        graph.touch(bad, Node::account(2), DAY_MS);
        graph.set_bad(2, true);
        graph.touch(VIEWER, Node::account(bad), first * DAY_MS);
        graph.touch(bad, Node::account(VIEWER), second * DAY_MS);
        let names = graph.feature_names(&KINDS, &["target"]);
        let mut out = vec![0.0; names.len()];
        let target = graph.peek(VIEWER, Node::account(bad));
        graph.features(VIEWER, &[], &[Some(target)], 9 * DAY_MS, &mut out);
        for name in ["account_bad", "account_suspicion", "bad_share"] {
            let at = names.iter().position(|n| *n == format!("graph.target.{name}")).unwrap();
            assert_eq!(out[at] > 0.0, judged, "{name} with {first} and {second}");
        }
        assert_eq!(graph.was_met_by(VIEWER, bad), !judged);
    }
    // Bad ones who flock to the target say nothing about it.
    let mut graph = graph();
    for newcomer in NEWCOMERS {
        graph.touch(newcomer, Node::account(TARGET), DAY_MS);
        graph.set_bad(newcomer, true);
    }
    graph.touch(VIEWER, Node::account(TARGET), 2 * DAY_MS);
    let names = graph.feature_names(&KINDS, &["target"]);
    let mut out = vec![0.0; names.len()];
    let target = graph.peek(VIEWER, Node::account(TARGET));
    graph.features(VIEWER, &[], &[Some(target)], 3 * DAY_MS, &mut out);
    let at = names.iter().position(|n| n == "graph.target.bad_share").unwrap();
    assert_eq!(out[at], 0.0);
}

/// Old members who are retracted, leave, or turn out to have come earlier are counted exactly.
#[test]
fn arrivals_follow_labels_links_and_late_events() {
    let mut graph = graph();
    graph.touch(VIEWER, DEVICE, 60 * DAY_MS);
    for newcomer in NEWCOMERS {
        graph.touch(newcomer, DEVICE, 90 * DAY_MS);
        graph.set_bad(newcomer, true);
        graph.refresh_suspicion(newcomer);
    }
    assert_eq!(graph.guilt_counts(VIEWER, DEVICE), 0.0);
    // A bad one that was there all along, alone with the viewer once the others are cleared or gone.
    graph.touch(1, DEVICE, 50 * DAY_MS);
    for newcomer in 2..5 {
        graph.set_bad(newcomer, false);
        graph.refresh_suspicion(newcomer);
        graph.set_evidence(newcomer, 0);
    }
    for newcomer in 5..9 {
        graph.remove_link(newcomer, DEVICE);
    }
    graph.check_invariants().unwrap();
    for newcomer in 2..5 {
        graph.remove_account(newcomer);
    }
    graph.check_invariants().unwrap();
    assert_eq!(graph.guilt_counts(VIEWER, DEVICE), 1.0);
}
