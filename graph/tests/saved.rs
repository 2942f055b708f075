//! What is saved and loaded is the same graph, in everything it will ever say.

mod common;

use common::*;
use graph::{LinkGraph, LoadError, Node};
use proptest::prelude::*;

fn nodes() -> impl Iterator<Item = Node> {
    (0..4).flat_map(|kind| (0..ACCOUNTS).map(move |index| Node::new(kind, index)))
}

/// All records, as a checkpoint would hold them.
type Saved = (Vec<(u32, Vec<u8>)>, Vec<(Node, Vec<u8>)>, Vec<u8>);

fn save(graph: &LinkGraph) -> Saved {
    let mut saved: Saved = Default::default();
    for account in 0..ACCOUNTS {
        let mut bytes = Vec::new();
        if graph.save_account(account, &mut bytes) {
            saved.0.push((account, bytes));
        }
    }
    for node in nodes() {
        let mut bytes = Vec::new();
        if graph.save_entity(node, &mut bytes) {
            saved.1.push((node, bytes));
        }
    }
    graph.save_globals(&mut saved.2);
    saved
}

fn load(saved: &Saved, roomy: bool, entities_first: bool) -> LinkGraph {
    let mut graph = LinkGraph::new(config(roomy)).unwrap();
    graph.load_globals(&saved.2).unwrap();
    if entities_first {
        saved.1.iter().for_each(|(node, bytes)| graph.load_entity(*node, bytes).unwrap());
    }
    // Another order than the one they were made in.
    saved.0.iter().rev().for_each(|(account, bytes)| graph.load_account(*account, bytes).unwrap());
    if !entities_first {
        saved.1.iter().for_each(|(node, bytes)| graph.load_entity(*node, bytes).unwrap());
    }
    graph.rebuild_components();
    graph
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn a_loaded_graph_goes_on_the_same(
        before in prop::collection::vec(op(), 1..120),
        after in prop::collection::vec(op(), 1..60),
        roomy: bool,
        entities_first: bool,
    ) {
        let mut old = world(roomy);
        for op in before {
            apply(&mut old, op);
        }
        let mut new = load(&save(&old), roomy, entities_first);
        new.check_invariants().unwrap();
        for op in after {
            let touched = apply(&mut old, op);
            prop_assert_eq!(apply(&mut new, op), touched);
            for account in 0..ACCOUNTS {
                prop_assert_eq!(features(&old, account, 6000), features(&new, account, 6000));
                prop_assert_eq!(old.co_share(account, 2), new.co_share(account, 2));
                prop_assert_eq!(old.component(account, 6000), new.component(account, 6000));
                prop_assert_eq!(old.path_to_bad(account, 40), new.path_to_bad(account, 40));
            }
        }
        prop_assert_eq!(save(&old), save(&new));
        prop_assert_eq!(old.counts(), new.counts());
    }

    #[test]
    fn damaged_bytes_are_an_error_or_a_graph(
        ops in prop::collection::vec(op(), 1..60),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut graph = world(false);
        for op in ops {
            apply(&mut graph, op);
        }
        let saved = save(&graph);
        let mut new = LinkGraph::new(config(false)).unwrap();
        for (account, bytes) in &saved.0 {
            let mut bytes = bytes.clone();
            let cut = cut.index(bytes.len());
            prop_assert!(new.load_account(*account, &bytes[..cut]).is_err());
            for (at, value) in &damage {
                *at.get_mut(&mut bytes) = *value;
            }
            let _ = new.load_account(*account, &bytes);
        }
        for (node, bytes) in &saved.1 {
            let mut bytes = bytes.clone();
            prop_assert!(new.load_entity(*node, &bytes[..cut.index(bytes.len())]).is_err());
            for (at, value) in &damage {
                *at.get_mut(&mut bytes) = *value;
            }
            let _ = new.load_entity(*node, &bytes);
        }
        // Whatever was taken, using it does not panic, and what contradicts itself is found.
        new.rebuild_components();
        let _ = new.check_invariants();
        for account in 0..ACCOUNTS {
            new.touch(account, Node::new(1, 1), 5000);
            new.set_bad(account, account % 2 == 0);
            new.refresh_suspicion(account);
            features(&new, account, 6000);
            new.remove_account(account);
        }
    }
}

#[test]
fn errors_name_what_is_wrong() {
    let mut graph = world(true);
    graph.touch(0, Node::new(1, 3), 10);
    graph.touch(0, Node::new(2, 3), 10);
    let mut bytes = Vec::new();
    assert!(graph.save_account(0, &mut bytes));
    assert_eq!(bytes.len(), 18 + 2 * 29);
    let mut entity = Vec::new();
    assert!(graph.save_entity(Node::new(1, 3), &mut entity));
    assert_eq!(entity.len(), 50 + 12);
    assert!(!graph.save_account(99, &mut bytes) && !graph.save_entity(Node::new(1, 9), &mut bytes));

    let mut new = LinkGraph::new(config(true)).unwrap();
    let version = [vec![9], bytes[1..].to_vec()].concat();
    let want = LoadError::Version { what: "account", found: 9, want: 1 };
    assert_eq!(new.load_account(0, &version), Err(want));
    let want = LoadError::Length { what: "account", found: 75, want: 76 };
    assert_eq!(new.load_account(0, &bytes[..75]), Err(want));
    let order = [&bytes[..18], &bytes[47..], &bytes[18..47]].concat();
    let want = LoadError::Value { what: "account", field: "order of links" };
    assert_eq!(new.load_account(0, &order), Err(want));
    assert_eq!(new.load_account(0, &bytes), Ok(()));
    let want = LoadError::Index { what: "account", index: 0 };
    assert_eq!(new.load_account(0, &bytes), Err(want));
    let want = LoadError::Index { what: "entity", index: 3 };
    assert_eq!(new.load_entity(Node::new(9, 3), &entity), Err(want));
    assert_eq!(new.load_entity(Node::new(1, 3), &entity), Ok(()));
    assert!(new.check_invariants().unwrap_err().to_string().starts_with("G2 at"));
    assert!(matches!(new.load_globals(&[1; 5]), Err(LoadError::Length { .. })));
}

/// Under a configuration in which a kind no longer binds, its saved links do not bind either.
#[test]
fn a_kind_that_is_no_longer_strong_binds_nothing() {
    let mut old = world(true);
    for account in [0, 1] {
        old.touch(account, Node::new(1, 0), 10);
    }
    assert_eq!(old.component(0, 10).unwrap().size, 2);
    let mut config = config(true);
    config.kinds[1].strong = false;
    let mut new = LinkGraph::new(config).unwrap();
    let saved = save(&old);
    saved.0.iter().for_each(|(account, bytes)| new.load_account(*account, bytes).unwrap());
    saved.1.iter().for_each(|(node, bytes)| new.load_entity(*node, bytes).unwrap());
    new.rebuild_components();
    new.check_invariants().unwrap();
    assert_eq!(new.component(0, 10).unwrap().size, 1);
    assert_eq!(new.entity(Node::new(1, 0)).unwrap().degree, 2);
}
