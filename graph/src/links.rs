//! Accounts, entities and the links between them.

use crate::arrivals::Arrivals;
use crate::blocks::Blocks;
use crate::chunks::Chunks;
use crate::components::Components;
use crate::config::{ConfigErrors, GraphConfig};
use crate::crowds::Crowds;
use crate::decay::hub_discount;
use crate::node::{INDEX_NONE, Node};
use crate::recents::{RECENTS_MAX, Recent, Set};
use crate::records::{Account, EXISTS, Entity, Link, LinkView, NONE};
use crate::undo::{Before, Kept};

/// An account's links are all walked up to this many; beyond, the most recently seen.
pub(crate) const WALK_MAX: usize = RECENTS_MAX;

/// Where an entity's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: usize,
    pub(crate) slot: u32,
}

/// What a touch found and did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Touched {
    /// What was touched.
    pub node: Node,
    /// The link as it was before, `None` if there was none.
    pub previous: Option<LinkView>,
    /// How many links had to go for this one.
    pub evicted: u32,
}

impl Touched {
    /// Whether the link is new.
    pub fn is_new(&self) -> bool {
        self.previous.is_none()
    }
}

/// What is counted since the graph was new, saved with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Links that had to go because an account was at its cap.
    pub links_evicted: u64,
    /// Links that a sweep dropped.
    pub links_expired: u64,
    /// Touches of an unknown account, an undeclared kind, or of an account by itself.
    pub touches_refused: u64,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Accounts.
    pub accounts: u64,
    /// Entities, accounts that somebody is linked to included.
    pub entities: u64,
    /// Links.
    pub links: u64,
    /// Bytes held by the arenas.
    pub bytes: u64,
}

/// The link graph: one writer, flat arenas, no hashing; everything is addressed by dense ids.
///
/// ```
/// use graph::{GraphConfig, KindRules, LinkGraph, Node};
/// let kinds = vec![KindRules::default(), KindRules { strong: true, ..KindRules::default() }];
/// let mut graph = LinkGraph::new(GraphConfig { kinds, ..GraphConfig::default() }).unwrap();
/// let device = Node::new(1, 0);
/// for account in [0, 1] {
///     graph.add_account(account, 1000 + u64::from(account));
///     graph.touch(account, device, 60_000).unwrap();
/// }
/// graph.set_bad(0, true);
/// assert_eq!(graph.entity(device).unwrap().bad, 1);
/// assert_eq!(graph.component(1, 60_000).unwrap().size, 2);
/// assert_eq!(graph.path_to_bad(1, 100).unwrap().nodes, [Node::account(1), device, Node::account(0)]);
/// ```
#[derive(Clone, Debug)]
pub struct LinkGraph {
    pub(crate) config: GraphConfig,
    pub(crate) accounts: Chunks<Account>,
    /// By kind; those of kind 0 by the slot that the account's record names.
    pub(crate) entities: Vec<Chunks<Entity>>,
    /// By kind and slot as `entities`; made when a member is labelled bad or suspect.
    pub(crate) arrivals: Vec<Chunks<Arrivals>>,
    pub(crate) account_slots_free: Kept<u32>,
    pub(crate) account_slots_n: u32,
    pub(crate) links: Blocks<Link>,
    pub(crate) recents: Blocks<Recent>,
    pub(crate) components: Components,
    pub(crate) crowds: Crowds,
    pub(crate) counts: Counts,
    pub(crate) size: Size,
    pub(crate) dirty_accounts: Vec<u32>,
    pub(crate) dirty_entities: Vec<Node>,
    /// An account's entity record went, and its mark with it: a node may be listed twice.
    pub(crate) dirty_repeats: bool,
    pub(crate) emptied: Vec<Node>,
    /// In a trial: what is put back as a whole.
    pub(crate) before: Option<Box<Before>>,
    pub(crate) per_strength: f64,
    pub(crate) per_new: [f64; 2],
    discounts: Vec<f32>,
}

impl LinkGraph {
    /// An empty graph, or every error of the configuration.
    pub fn new(config: GraphConfig) -> Result<Self, ConfigErrors> {
        config.check()?;
        let per = |half_life_ms: i64| 1.0 / half_life_ms as f64;
        Ok(Self {
            accounts: Chunks::new(),
            entities: config.kinds.iter().map(|_| Chunks::new()).collect(),
            arrivals: config.kinds.iter().map(|_| Chunks::new()).collect(),
            account_slots_free: Kept::new(),
            account_slots_n: 0,
            links: Blocks::new(),
            recents: Blocks::new(),
            components: Components::new(&config),
            crowds: Crowds::default(),
            counts: Counts::default(),
            size: Size::default(),
            dirty_accounts: Vec::new(),
            dirty_entities: Vec::new(),
            dirty_repeats: false,
            emptied: Vec::new(),
            before: None,
            per_strength: per(config.strength_half_life_ms),
            per_new: [per(config.new_short_half_life_ms), per(config.new_long_half_life_ms)],
            discounts: (0..1024).map(hub_discount).collect(),
            config,
        })
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &GraphConfig {
        &self.config
    }

    /// What is counted since the graph was new.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Links that were moved in memory since the graph was new, for those that new ones were put between or that went.
    pub fn links_moved(&self) -> u64 {
        self.links.moved
    }

    /// How many links there are, and how many accounts somebody is linked to. O(1).
    pub fn links_and_linked_accounts(&self) -> (u64, u64) {
        let free = self.account_slots_free.len() as u64;
        (self.size.links, u64::from(self.account_slots_n).saturating_sub(free))
    }

    /// How much there is. Cost: proportional to the number of arena chunks.
    pub fn size(&self) -> Size {
        let entities = self.entities.iter().map(Chunks::bytes).sum::<usize>()
            + self.arrivals.iter().map(Chunks::bytes).sum::<usize>();
        let arenas = self.accounts.bytes() + self.links.bytes() + self.recents.bytes();
        let bytes = (entities + arenas + self.components.bytes() + self.crowds.bytes()) as u64;
        Size { bytes, ..self.size }
    }

    /// Makes account `index` known; `key` is stable across processes and names its component as ring
    /// id. False if it is known already or the index is above [`Node::INDEX_MAX`].
    pub fn add_account(&mut self, index: u32, key: u64) -> bool {
        if index > Node::INDEX_MAX || self.line(index).is_some() {
            return false;
        }
        let line = self.accounts.ensure(index);
        line.exists = true;
        line.key = key;
        self.size.accounts += 1;
        self.mark_account(index);
        true
    }

    /// Account `account` used `node` at `ts_ms`, in any order of time (below 0 counts as 0).
    ///
    /// `None`, counted, if the account is unknown, the kind undeclared, or the node is the account
    /// itself or an unknown account. Cost: a few binary searches; at the account's cap, once for a 32nd of
    /// it, a pass over its links; for a strong link new in an epoch one union.
    pub fn touch(&mut self, account: u32, node: Node, ts_ms: i64) -> Option<Touched> {
        let ts_ms = ts_ms.max(0);
        let known = node != Node::account(account) && self.line(account).is_some();
        let place = if known { self.place_or_create(node, ts_ms) } else { None };
        let Some(place) = place else {
            self.counts.touches_refused += 1;
            return None;
        };
        let (at, previous) = self.find(account, node);
        let mut evicted = 0;
        let (old, link) = match previous {
            Some(old) => {
                let (offset, _) = self.links_of(account);
                let link = self.links.slice_mut(offset + at as u32, 1).first_mut()?;
                link.touch(ts_ms, self.per_strength);
                let link = *link;
                if link.first_ms != old.first_ms
                    && let Some(line) = self.line(account)
                {
                    let (bad, suspicion) = (line.bad.into(), line.suspicion.into());
                    let earlier = self.steps(link.first_ms).wrapping_sub(self.steps(old.first_ms));
                    self.add_arrival(place, bad, suspicion, earlier);
                }
                (Some(old), link)
            }
            None => {
                let (link, gone) = self.insert(account, node, place, ts_ms);
                evicted = gone;
                (None, link)
            }
        };
        let entity = self.entities[place.kind].get_mut(place.slot)?;
        entity.events = entity.events.saturating_add(1);
        entity.first_ms = entity.first_ms.min(ts_ms);
        entity.last_ms = entity.last_ms.max(ts_ms);
        let max = self.config.recent_members_max as usize;
        let set = Set { offset: &mut entity.recents, n: &mut entity.recents_n };
        set.note(&mut self.recents, max, account, link.last_ms);
        let line = self.accounts.get_mut(account)?;
        line.touches = line.touches.saturating_add(1);
        if usize::from(line.links_n) > WALK_MAX {
            let set = Set { offset: &mut line.recents, n: &mut line.recents_n };
            set.note(&mut self.recents, WALK_MAX, node.to_bits(), link.last_ms);
        }
        if link.joined != 0 {
            self.join(account, place, old.as_ref(), &link);
        }
        self.mark_account(account);
        self.mark_entity(place, node);
        Some(Touched { node, previous: old.map(|l| l.view()), evicted })
    }

    /// The same answer as [`LinkGraph::touch`] would give for an event that was counted already:
    /// nothing is changed, and `previous` is the link as it is.
    pub fn peek(&self, account: u32, node: Node) -> Touched {
        let previous = self.find(account, node).1.map(|l| l.view());
        Touched { node, previous, evicted: 0 }
    }

    fn insert(&mut self, account: u32, node: Node, place: Place, ts_ms: i64) -> (Link, u32) {
        let (_, n) = self.links_of(account);
        let full = n >= self.config.links_per_account_max as usize;
        let evicted = if full { self.evict(account) } else { 0 };
        let rules = self.config.kinds[place.kind];
        let (_, n) = self.links_of(account);
        let mut link = Link::new(node, ts_ms);
        let Some(entity) = self.entities[place.kind].get_mut(place.slot) else {
            return (link, evicted);
        };
        entity.degree += 1;
        entity.add_new(ts_ms, self.per_new);
        let joins = rules.binds()
            && entity.degree <= rules.union_degree_max
            && n < self.config.union_links_max as usize;
        link.joined = u32::from(joins);
        self.size.links += 1;
        if let Some(line) = self.accounts.get(account) {
            entity.bad += u32::from(line.bad);
            entity.suspicion_sum += u32::from(line.suspicion);
            let (bad, suspicion) = (line.bad.into(), line.suspicion.into());
            let steps = self.steps(ts_ms);
            self.add_arrival(place, bad, suspicion, steps);
        }
        self.insert_link(account, link);
        self.join_crowd(account, node);
        if n == WALK_MAX {
            self.rebuild_recents(account);
        }
        (link, evicted)
    }

    /// Sets the account's most recent nodes from all of its links.
    pub(crate) fn rebuild_recents(&mut self, account: u32) {
        let (offset, n) = self.links_of(account);
        let links = self.links.slice(offset, n);
        let mut all: Vec<(i64, u32)> =
            links.iter().map(|l| (l.last_ms, l.node.to_bits())).collect();
        if all.len() > WALK_MAX {
            all.select_nth_unstable_by(WALK_MAX, |a, b| b.cmp(a));
            all.truncate(WALK_MAX);
        }
        all.sort_unstable_by_key(|a| a.1);
        let list: Vec<Recent> = all.iter().map(|a| Recent::new(a.1, a.0)).collect();
        if let Some(line) = self.accounts.get_mut(account) {
            Set { offset: &mut line.recents, n: &mut line.recents_n }.clear(&mut self.recents);
            line.recents = self.recents.place(&list);
            line.recents_n = list.len() as u8;
        }
    }

    #[inline]
    pub(crate) fn line(&self, account: u32) -> Option<&Account> {
        self.accounts.get(account).filter(|a| a.exists)
    }

    #[inline]
    pub(crate) fn links_of(&self, account: u32) -> (u32, usize) {
        self.accounts.get(account).map_or((0, 0), |a| (a.links, a.links_n.into()))
    }

    /// All links of an account. By node up to [`WALK_MAX`] of them; of more, the newest are apart.
    #[inline]
    pub(crate) fn links_slice(&self, account: u32) -> &[Link] {
        let (offset, n) = self.links_of(account);
        self.links.slice(offset, n)
    }

    /// The nodes that reads walk, by node: all, or the most recently seen [`WALK_MAX`].
    pub(crate) fn walk(&self, account: u32) -> impl Iterator<Item = Node> + Clone + '_ {
        let links = self.links_slice(account);
        let line = self.accounts.get(account);
        let many = links.len() > WALK_MAX;
        let recents = match line {
            Some(line) if many => self.recents.slice(line.recents, line.recents_n.into()),
            _ => &[],
        };
        let links = if many { &[] } else { links };
        links.iter().map(|l| l.node).chain(recents.iter().map(|r| Node::from_bits(r.id)))
    }

    #[inline]
    pub(crate) fn place(&self, node: Node) -> Option<Place> {
        let (kind, index) = (node.kind(), node.index());
        let slot = if kind == 0 { self.accounts.get(index)?.as_entity } else { index };
        (kind < self.entities.len() && slot != NONE).then_some(Place { kind, slot })
    }

    #[inline]
    pub(crate) fn entity_line(&self, node: Node) -> Option<&Entity> {
        let place = self.place(node)?;
        self.entities[place.kind].get(place.slot).filter(|e| e.exists())
    }

    #[inline]
    pub(crate) fn recent_members(&self, node: Node) -> &[Recent] {
        self.entity_line(node).map_or(&[], |e| self.recents.slice(e.recents, e.recents_n.into()))
    }

    /// The entity's place; a record is made for it if there is none.
    pub(crate) fn place_or_create(&mut self, node: Node, ts_ms: i64) -> Option<Place> {
        let (kind, index) = (node.kind(), node.index());
        if kind >= self.entities.len() || index == INDEX_NONE {
            return None;
        }
        if kind == 0 {
            self.line(index)?;
        }
        let slot = if kind == 0 { self.account_slot(index)? } else { index };
        let place = Place { kind, slot };
        let entity = self.entities[kind].ensure(slot);
        if !entity.exists() {
            entity.flags |= EXISTS;
            (entity.first_ms, entity.last_ms, entity.new_ms) = (ts_ms, ts_ms, ts_ms);
            self.size.entities += 1;
        }
        Some(place)
    }

    /// The slot of an account's entity record, taken if there is none.
    pub(crate) fn account_slot(&mut self, account: u32) -> Option<u32> {
        let line = self.accounts.get_mut(account)?;
        if line.as_entity == NONE {
            line.as_entity = self.account_slots_free.pop().unwrap_or_else(|| {
                self.account_slots_n += 1;
                self.account_slots_n - 1
            });
        }
        Some(line.as_entity)
    }

    #[inline]
    pub(crate) fn discount(&self, degree: u32) -> f32 {
        match self.discounts.get(degree as usize) {
            Some(discount) => *discount,
            None => hub_discount(degree),
        }
    }
}
