//! Exhaustive search, at small bounds, through everything that can happen to a few processes and their shards.

use super::super::twin::{Fate, Rules, Twin};
use super::world::{End, Event, Kafka, Plan, Process, World, run, step};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// How much of what may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Processes; one more starts up fresh at every state, to see what it finds.
    pub processes: usize,
    /// How often another process goes on.
    pub switches: usize,
    /// Crashes of a shard that lose what is not on the disk.
    pub losses: usize,
    /// Older copies of a shard.
    pub restores: usize,
    /// Replies lost, or calls that come late.
    pub faults: usize,
    /// Whether calls can come late (else only replies are lost).
    pub late: bool,
    /// States, after which the search ends; only a search that finds something may need it.
    pub states: usize,
}

/// A search.
#[derive(Clone, Debug)]
pub struct Search {
    pub plan: Plan,
    pub shards: u16,
    pub rules: Rules,
    pub waitaof: bool,
    pub bounds: Bounds,
    /// Whether a refusal to start is a violation.
    pub may_refuse: bool,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, in so many states: all there are.
    Nothing(usize),
    /// A violation, and how it came about.
    Wrong(String, Vec<String>),
    /// A refusal, and how it came about.
    Refused(String, Vec<String>),
    /// The bound on states was reached.
    Unfinished,
}

struct Node {
    world: World,
    left: Bounds,
    current: usize,
    trace: Option<Rc<Trace>>,
}

struct Trace {
    what: String,
    before: Option<Rc<Trace>>,
}

fn told(mut trace: Option<&Rc<Trace>>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(t) = trace {
        lines.push(t.what.clone());
        trace = t.before.as_ref();
    }
    lines.reverse();
    lines
}

fn hash(of: &impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(of)
}

impl Search {
    /// A search with all rules kept, in which nothing may be found.
    pub fn right(shards: u16, events: &[Event], bounds: Bounds) -> Self {
        Self {
            plan: Plan::right(shards, events),
            shards,
            rules: Rules::default(),
            waitaof: true,
            bounds,
            may_refuse: false,
        }
    }

    fn begin(&self) -> World {
        let mut twin = Twin::new(self.shards);
        twin.rules = self.rules;
        twin.waitaof = self.waitaof;
        World {
            twin,
            kafka: Kafka::default(),
            late: Vec::new(),
            processes: vec![Process::default()],
        }
    }

    /// Goes through all states, nearest first.
    pub fn run(&self) -> Found {
        let first = Node { world: self.begin(), left: self.bounds, current: 0, trace: None };
        let mut seen = HashSet::new();
        let mut ghosts = HashSet::new();
        let mut queue = VecDeque::from([first]);
        while let Some(node) = queue.pop_front() {
            for (what, result) in self.moves(&node) {
                let trace = Some(Rc::new(Trace { what, before: node.trace.clone() }));
                let next = match result {
                    Ok(mut next) => {
                        next.trace = trace.clone();
                        next
                    }
                    Err(End::Refused(_)) if self.may_refuse => continue,
                    Err(End::Refused(why)) => return Found::Refused(why, told(trace.as_ref())),
                    Err(End::Wrong(why)) => return Found::Wrong(why, told(trace.as_ref())),
                    Err(_) => continue,
                };
                if !seen.insert(hash(&(&next.world, next.left, next.current))) {
                    continue;
                }
                if let Some(found) = self.ghost(&next, &mut ghosts) {
                    return found;
                }
                if seen.len() >= self.bounds.states {
                    return Found::Unfinished;
                }
                queue.push_back(next);
            }
        }
        Found::Nothing(seen.len())
    }

    /// Everything dies now, and one process starts.
    fn ghost(&self, node: &Node, known: &mut HashSet<u64>) -> Option<Found> {
        let mut hasher = DefaultHasher::new();
        for shard in 0..self.shards {
            node.world.twin.now(shard).hash(&mut hasher);
        }
        node.world.kafka.hash(&mut hasher);
        if !known.insert(hasher.finish()) {
            return None;
        }
        let mut world = node.world.clone();
        world.processes = vec![Process::default(); 9];
        // Owners of its own: the ninth process.
        let end = run(&mut world, 8, &self.plan);
        let trace = || {
            let mut trace = told(node.trace.as_ref());
            trace.push("everything dies, a process starts".to_owned());
            trace
        };
        match end {
            End::Wrong(why) => Some(Found::Wrong(why, trace())),
            End::Refused(why) if !self.may_refuse => Some(Found::Refused(why, trace())),
            _ => None,
        }
    }

    fn moves(&self, node: &Node) -> Vec<(String, Result<Node, End>)> {
        let mut moves = Vec::new();
        let mut add = |what: String, world: World, left: Bounds, current: usize| {
            moves.push((what, Ok(Node { world, left, current, trace: None })));
        };
        let left = node.left;
        if left.switches > 0 {
            let fewer = Bounds { switches: left.switches - 1, ..left };
            for other in 0..self.bounds.processes.min(node.world.processes.len() + 1) {
                let mut world = node.world.clone();
                if other == world.processes.len() {
                    world.processes.push(Process::default());
                }
                if other != node.current && !world.processes[other].over {
                    add(format!("process {other} goes on"), world, fewer, other);
                }
            }
        }
        for shard in 0..self.shards {
            let at = &node.world.twin.shards[usize::from(shard)];
            let newest = node.world.twin.moments(shard) - 1;
            if left.losses > 0 {
                for to in at.durable..newest {
                    let mut world = node.world.clone();
                    world.twin.crash(shard, to);
                    let fewer = Bounds { losses: left.losses - 1, ..left };
                    add(
                        format!("shard {shard} loses {} calls", newest - to),
                        world,
                        fewer,
                        node.current,
                    );
                }
            }
            if left.restores > 0 {
                for to in 0..newest {
                    let mut world = node.world.clone();
                    world.twin.restore(shard, to);
                    let fewer = Bounds { restores: left.restores - 1, ..left };
                    add(
                        format!("shard {shard} is set back by {} calls", newest - to),
                        world,
                        fewer,
                        node.current,
                    );
                }
            }
        }
        for i in 0..node.world.late.len() {
            let mut world = node.world.clone();
            let (shard, call) = world.late.remove(i);
            let reply = world.twin.call(shard, &call);
            add(
                format!("a late call comes to shard {shard}: {reply:?}"),
                world,
                left,
                node.current,
            );
        }
        if node.world.kafka.decided.is_some() {
            let mut world = node.world.clone();
            world.kafka.complete();
            add("the coordinator completes the commit".to_owned(), world, left, node.current);
        }
        let current = node.current;
        if node.world.processes[current].over {
            return moves;
        }
        let mut fates = vec![Fate::Arrives];
        if left.faults > 0 {
            fates.push(Fate::ReplyLost);
            if left.late {
                fates.push(Fate::Late);
            }
        }
        for fate in fates {
            let mut world = node.world.clone();
            let end = step(&mut world, current, &self.plan, fate);
            let answer = world.processes[current].answers.last().cloned();
            let what = format!("process {current} {fate:?}: {answer:?}");
            // Only calls have fates.
            let called = matches!(answer.as_deref(), Some(super::world::Answer::Reply(_)));
            let faults = left.faults - usize::from(fate != Fate::Arrives);
            if fate != Fate::Arrives && !called {
                continue;
            }
            if self.bounds.restores == 0 {
                world.twin.forget_older();
            }
            moves.push((
                what,
                match end {
                    End::Going | End::Over => {
                        let left = Bounds { faults, ..left };
                        Ok(Node { world, left, current, trace: None })
                    }
                    end => Err(end),
                },
            ));
        }
        moves
    }
}

const TOUCHES: &[Event] = &[Event::Touch(0), Event::Touch(1)];
const DELETION: &[Event] = &[Event::Touch(0), Event::Delete(0), Event::Touch(0)];
const ALL: Bounds = Bounds {
    processes: 1,
    switches: 0,
    losses: 0,
    restores: 0,
    faults: 0,
    late: true,
    states: usize::MAX,
};

/// The number of states is part of the test: a change of the store or the checker that makes it look at less shows.
fn nothing(search: &Search, at_least: usize) {
    match search.run() {
        Found::Nothing(states) => assert!(states >= at_least, "only {states} states"),
        found => panic!("{found:#?}"),
    }
}

#[test]
fn nothing_wrong_with_one_process_a_loss_and_a_fault() {
    for (shards, at_least) in [(1, 24_000), (2, 117_000)] {
        nothing(&Search::right(shards, TOUCHES, Bounds { faults: 1, losses: 1, ..ALL }), at_least);
    }
}

#[test]
fn nothing_wrong_with_two_losses() {
    nothing(&Search::right(1, DELETION, Bounds { losses: 2, ..ALL }), 3_000);
}

#[test]
fn nothing_wrong_with_two_processes() {
    // Any three changes from one to the other, anywhere.
    nothing(&Search::right(1, TOUCHES, Bounds { processes: 2, switches: 3, ..ALL }), 10_000);
    // One is killed anywhere, the other one takes over; and a call of either is lost or comes late.
    nothing(
        &Search::right(1, TOUCHES, Bounds { processes: 2, switches: 1, faults: 1, ..ALL }),
        10_000,
    );
    nothing(&Search::right(2, TOUCHES, Bounds { processes: 2, switches: 2, ..ALL }), 30_000);
}

#[test]
fn never_wrong_without_a_wait() {
    // Redis before 7.2: it may refuse after a loss, and nothing else.
    for shards in [1, 2] {
        let mut search = Search::right(shards, DELETION, Bounds { losses: 1, ..ALL });
        search.waitaof = false;
        search.may_refuse = true;
        nothing(&search, 400);
    }
}

#[test]
fn never_wrong_after_an_older_copy() {
    let mut search =
        Search::right(1, TOUCHES, Bounds { processes: 2, switches: 1, restores: 1, ..ALL });
    search.may_refuse = true;
    nothing(&search, 10_000);
    let mut search = Search::right(2, TOUCHES, Bounds { restores: 2, ..ALL });
    search.may_refuse = true;
    nothing(&search, 10_000);
}

/// One long run, by chance: up to eight processes, and everything that can befall them.
fn walk(seed: u64, shards: u16, waitaof: bool, restores: bool) {
    let events: Vec<Event> = (0..14)
        .map(|i| if i % 5 == 3 { Event::Delete(i / 5 % 2) } else { Event::Touch(i % 2) })
        .collect();
    let mut search = Search::right(shards, &events, ALL);
    search.waitaof = waitaof;
    search.plan.lives = 50;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut node = Node { world: search.begin(), left: ALL, current: 0, trace: None };
    let mut known = HashSet::new();
    for _ in 0..500 {
        let shard = rng.random_range(0..shards);
        let world = &mut node.world;
        let newest = world.twin.moments(shard) - 1;
        let tell = match rng.random_range(0..100) {
            0..4 => {
                let durable = world.twin.shards[usize::from(shard)].durable;
                let to = rng.random_range(durable..=newest);
                search.may_refuse |= !waitaof && to < newest;
                world.twin.crash(shard, to);
                format!("shard {shard} loses {}", newest - to)
            }
            4 if restores => {
                search.may_refuse = true;
                let to = rng.random_range(0..=newest);
                world.twin.restore(shard, to);
                format!("shard {shard} is set back by {}", newest - to)
            }
            5..8 if !world.late.is_empty() => {
                let late = rng.random_range(0..world.late.len());
                let (shard, call) = world.late.remove(late);
                format!("late: {:?}", world.twin.call(shard, &call))
            }
            8 => {
                world.kafka.complete();
                "the coordinator completes".to_owned()
            }
            9..14 => {
                if world.processes.len() < 8 && rng.random_bool(0.5) {
                    world.processes.push(Process::default());
                }
                node.current = rng.random_range(0..world.processes.len());
                format!("process {}", node.current)
            }
            _ if world.processes[node.current].over => continue,
            chance => {
                let fate = match chance {
                    14..17 => Fate::ReplyLost,
                    17..20 => Fate::Late,
                    _ => Fate::Arrives,
                };
                match step(world, node.current, &search.plan, fate) {
                    End::Wrong(why) => {
                        panic!("seed {seed}: {why}: {:#?}", told(node.trace.as_ref()))
                    }
                    End::Refused(why) if !search.may_refuse => {
                        panic!("seed {seed}: {why}: {:#?}", told(node.trace.as_ref()))
                    }
                    _ => {}
                }
                format!("{fate:?}: {:?}", world.processes[node.current].answers.last())
            }
        };
        node.trace = Some(Rc::new(Trace { what: tell, before: node.trace.take() }));
        if let Some(found) = search.ghost(&node, &mut known) {
            panic!("seed {seed}: {found:#?}");
        }
    }
}

#[test]
fn nothing_wrong_on_long_walks() {
    for seed in 0..40 {
        walk(seed, 1 + (seed % 3) as u16, true, false);
        walk(seed, 1 + (seed % 3) as u16, seed % 2 == 0, true);
        walk(seed, 1 + (seed % 3) as u16, false, false);
    }
}
