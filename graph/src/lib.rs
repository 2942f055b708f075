//! Who is linked to whom: links, entity aggregates, suspicion, components, rings.
//!
//! Pure: no clock, no randomness, no I/O; dense ids only, no strings. Nothing on the hot path walks
//! further than the account's own links: every entity keeps aggregates of its members, so reading the
//! entities of an account is reading its whole two-step neighbourhood.
//!
//! * [`LinkGraph::touch`] records that an account used something, in any order of time.
//! * [`LinkGraph::set_bad`], [`LinkGraph::set_evidence`] and [`LinkGraph::refresh_suspicion`] carry
//!   what is known of an account to what it uses, and from there to others.
//! * [`LinkGraph::features`] turns it all into numbers for one event.
//! * [`LinkGraph::advance`] and [`LinkGraph::sweep`] forget, in event time.
//! * [`LinkGraph::take_dirty`] and the `save_*` and `load_*` calls make it durable.
//! * [`LinkGraph::view`] is petgraph's view of it; [`LinkGraph::ring`] and [`LinkGraph::path_to_bad`]
//!   explain.
//!
//! What depends on the order of events, and what does not: links, degrees, label counts, suspicion
//! sums of given suspicions, and components are functions of what happened alone, as long as no cap
//! is reached (`links_per_account_max`, `union_links_max`, `union_degree_max`: who came first joins).
//! Decayed counts agree up to rounding. Suspicion depends on it slightly, since it is recomputed at an
//! account's own events. The same sequence of calls always gives the same bits.

mod arrivals;
mod blocks;
mod changes;
mod chunks;
mod components;
mod config;
mod coshare;
mod crowds;
mod decay;
mod evict;
mod expiry;
mod features;
mod invariants;
mod links;
mod lists;
mod node;
mod reading;
mod recents;
mod records;
mod rings;
mod saved;
mod suspicion;
mod undo;
mod unions;
mod view;

pub use components::Component;
pub use config::{ConfigError, ConfigErrors, GraphConfig, KindRules};
pub use coshare::CoShare;
pub use expiry::Swept;
pub use features::{NODE_FIELDS, OVERALL, PAIR_FIELDS};
pub use invariants::Broken;
pub use links::{Counts, LinkGraph, Size, Touched};
pub use node::{KINDS_MAX, Node};
pub use records::{AccountView, EntityView, LinkView};
pub use rings::{Path, RING_NODES_MAX, Ring};
pub use saved::LoadError;
pub use view::{LinkEdge, View, Visited};
