//! A small world to check the protocol in: Kafka with transactions and fencing, the twin, and processes that run
//! the real store one call at a time. A process is the list of answers that it got: to take a step, its
//! program is run anew over them, and one answer further.

use super::super::call::{Call, CallError, Durable, Reply};
use super::super::names::{Keys, Name};
use super::super::protocol::{Header, Refusal};
use super::super::shards::{EachName, EachRecord, Shards};
use super::super::twin::{Fate, Twin};
use super::process::program;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

pub const PARTITION: &str = "t/0";

/// What an event does to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// It is noted in it.
    Touch(usize),
    /// It goes.
    Delete(usize),
}

/// State as it should be: which events each record has seen since it began.
pub type Memory = BTreeMap<Name, Vec<u8>>;

/// What the processes do, and which rules of theirs are kept.
#[derive(Clone, Debug)]
pub struct Plan {
    pub events: Vec<Event>,
    /// Names of the records that events speak of.
    pub names: Vec<Name>,
    /// How often a process starts over.
    pub lives: usize,
    pub first_checkpoint: bool,
    pub confirm: bool,
    pub look_again: bool,
    pub common_base: bool,
    pub wait_for_commit: bool,
    pub owners_differ: bool,
    pub order: Order,
}

/// In which order a process starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Claim, init, confirm, O, load.
    Right,
    /// O before the claim.
    OBeforeClaim,
    /// O before init.
    OBeforeInit,
    /// Headers and records before the claim.
    LoadBeforeClaim,
}

impl Plan {
    /// A plan that keeps all rules: two records, one on each of two shards (or both on one).
    pub fn right(shards: u16, events: &[Event]) -> Self {
        let names = (0..2u16)
            .map(|want| {
                (0..)
                    .map(|i: u32| Name::profile("k", &i.to_string()))
                    .filter(|name| name.shard(shards) == want % shards)
                    .nth(usize::from(want))
                    .expect("some name is on every shard")
            })
            .collect();
        Self {
            events: events.to_vec(),
            names,
            lives: 2,
            first_checkpoint: true,
            confirm: true,
            look_again: true,
            common_base: true,
            wait_for_commit: true,
            owners_differ: true,
            order: Order::Right,
        }
    }

    /// The state after the first `o` events.
    pub fn fold(&self, o: i64) -> Memory {
        let mut memory = Memory::new();
        for i in 0..o {
            self.apply(&mut memory, i);
        }
        memory
    }

    pub fn apply(&self, memory: &mut Memory, i: i64) -> Name {
        match self.events[i as usize] {
            Event::Touch(r) => {
                memory.entry(self.names[r].clone()).or_default().push(i as u8);
                self.names[r].clone()
            }
            Event::Delete(r) => {
                memory.remove(&self.names[r]);
                self.names[r].clone()
            }
        }
    }
}

/// One group's producer and offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kafka {
    pub producer: u32,
    pub o: Option<i64>,
    /// Decided, and not yet seen by readers: producer, from, to.
    pub decided: Option<(u32, i64, i64)>,
    /// Events whose outputs were published.
    pub published: Vec<i64>,
}

impl Kafka {
    /// The coordinator completes what was decided.
    pub fn complete(&mut self) {
        if let Some((_, from, to)) = self.decided.take() {
            self.o = Some(to);
            self.published.extend(from..to);
        }
    }
}

/// An answer that a process got.
#[derive(Clone, Debug, Hash)]
pub enum Answer {
    Reply(Result<Reply, CallErrorKind>),
    Wait(Result<Durable, CallErrorKind>),
    Header(Header),
    Records(Vec<(Name, Vec<u8>)>),
    Init(u32),
    O(Option<i64>),
    Decided(bool),
    Completed,
}

/// The twin has one error only: the reply is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallErrorKind;

impl From<CallErrorKind> for CallError {
    fn from(_: CallErrorKind) -> Self {
        Self::Unknown { place: "the twin".to_owned(), why: "the reply was lost".to_owned() }
    }
}

/// A process.
#[derive(Clone, Debug, Default, Hash)]
pub struct Process {
    pub answers: Vec<Rc<Answer>>,
    pub over: bool,
    carried: BTreeMap<u16, u32>,
}

/// Everything.
#[derive(Clone, Debug, Hash)]
pub struct World {
    pub twin: Twin,
    pub kafka: Kafka,
    pub late: Vec<(u16, Call)>,
    pub processes: Vec<Process>,
}

/// How a step went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// There is more to do.
    Going,
    /// It did everything, or gave up after its lives.
    Over,
    /// It went live with, or published, what is wrong.
    Wrong(String),
    /// It refused to start.
    Refused(String),
}

pub(super) enum Out {
    Stopped,
    Again,
    Wrong(String),
    Refused(Refusal),
}

pub(super) struct Hand {
    world: World,
    me: usize,
    at: usize,
    fate: Option<Fate>,
    endless: bool,
    pub stopped: bool,
}

#[derive(Clone)]
pub(super) struct Shared(pub Rc<RefCell<Hand>>, u16);

impl Shared {
    fn ask(
        &self,
        run: impl FnOnce(&mut World, usize, Fate) -> Answer,
    ) -> Result<Rc<Answer>, CallError> {
        let hand = &mut *self.0.borrow_mut();
        let known = hand.world.processes[hand.me].answers.get(hand.at).cloned();
        if let Some(answer) = known {
            hand.at += 1;
            return Ok(answer);
        }
        let Some(fate) = hand.fate.take().or(hand.endless.then_some(Fate::Arrives)) else {
            hand.stopped = true;
            return Err(CallError::Never {
                place: String::new(),
                why: "the step is over".to_owned(),
            });
        };
        let answer = Rc::new(run(&mut hand.world, hand.me, fate));
        hand.world.processes[hand.me].answers.push(answer.clone());
        hand.at += 1;
        Ok(answer)
    }

    pub(super) fn init(&self) -> Result<u32, Out> {
        let answer = self.ask(|world, _, _| {
            world.kafka.complete();
            world.kafka.producer += 1;
            Answer::Init(world.kafka.producer)
        });
        match answer.as_deref() {
            Ok(Answer::Init(producer)) => Ok(*producer),
            _ => Err(Out::Stopped),
        }
    }

    pub(super) fn read_o(&self) -> Result<Option<i64>, Out> {
        match self.ask(|world, _, _| Answer::O(world.kafka.o)).as_deref() {
            Ok(Answer::O(o)) => Ok(*o),
            _ => Err(Out::Stopped),
        }
    }

    /// Commits the outputs of events `from..to` in two steps, as a coordinator does.
    pub(super) fn commit(&self, producer: u32, from: i64, to: i64) -> Result<(), Out> {
        let decided = self.ask(|world, _, _| {
            let fenced = world.kafka.producer != producer;
            if !fenced {
                world.kafka.decided = Some((producer, from, to));
            }
            Answer::Decided(!fenced)
        });
        match decided.as_deref() {
            Ok(Answer::Decided(true)) => {}
            Ok(Answer::Decided(false)) => return Err(Out::Again),
            _ => return Err(Out::Stopped),
        }
        let completed = self.ask(|world, _, _| {
            if world.kafka.decided.is_some_and(|(by, _, _)| by == producer) {
                world.kafka.complete();
            }
            Answer::Completed
        });
        completed.map(|_| ()).map_err(|_| Out::Stopped)
    }
}

impl Shards for Shared {
    fn count(&self) -> u16 {
        self.1
    }

    fn key(&self, name: &Name) -> String {
        Keys { prefix: "det:".to_owned(), shards: self.1 }.record(name)
    }

    fn call(&mut self, shard: u16, call: &Call) -> Result<Reply, CallError> {
        let answer = self.ask(|world, me, fate| {
            let crashes = world.twin.shards[usize::from(shard)].crashes;
            let carried = &mut world.processes[me].carried;
            Answer::Reply(match fate {
                Fate::Arrives => {
                    carried.insert(shard, crashes);
                    Ok(world.twin.call(shard, call))
                }
                Fate::ReplyLost => {
                    carried.remove(&shard);
                    world.twin.call(shard, call);
                    Err(CallErrorKind)
                }
                Fate::Late => {
                    carried.remove(&shard);
                    world.late.push((shard, call.clone()));
                    Err(CallErrorKind)
                }
            })
        })?;
        match &*answer {
            Answer::Reply(reply) => Ok(reply.clone()?),
            other => panic!("a program that does not repeat itself: {other:?}"),
        }
    }

    fn wait(&mut self, shard: u16) -> Result<Durable, CallError> {
        let answer = self.ask(|world, me, _| {
            let crashes = world.twin.shards[usize::from(shard)].crashes;
            let same = world.processes[me].carried.get(&shard) == Some(&crashes);
            Answer::Wait(if !world.twin.waitaof {
                Ok(Durable::Unsupported)
            } else if same {
                world.twin.wait(shard);
                Ok(Durable::Yes)
            } else if world.twin.rules.same_connection {
                Err(CallErrorKind)
            } else {
                Ok(Durable::Yes)
            })
        })?;
        match &*answer {
            Answer::Wait(durable) => Ok((*durable)?),
            other => panic!("a program that does not repeat itself: {other:?}"),
        }
    }

    fn header(&mut self, shard: u16) -> Result<Header, CallError> {
        let answer =
            self.ask(|world, _, _| Answer::Header(world.twin.now(shard).header.clone()))?;
        match &*answer {
            Answer::Header(header) => Ok(header.clone()),
            other => panic!("a program that does not repeat itself: {other:?}"),
        }
    }

    fn records(&mut self, each: &mut EachRecord<'_>) -> Result<(), CallError> {
        // Shard by shard, so that something can happen in between.
        for shard in 0..self.1 {
            let answer = self.ask(|world, _, _| {
                let keys =
                    Keys { prefix: "det:".to_owned(), shards: world.twin.shards.len() as u16 };
                Answer::Records(world.twin.now(shard).indexed(&keys, shard))
            })?;
            let Answer::Records(records) = &*answer else {
                panic!("a program that does not repeat itself: {answer:?}")
            };
            for (name, bytes) in records {
                each(shard, name.clone(), bytes)?;
            }
        }
        Ok(())
    }

    fn names(&mut self, _: &mut EachName<'_>) -> Result<(), CallError> {
        panic!("no program erases everything")
    }

    fn record(&mut self, _: &Name) -> Result<Option<Vec<u8>>, CallError> {
        Ok(None)
    }

    fn alive(&mut self) -> Result<Option<String>, CallError> {
        Ok(None)
    }

    fn set_reading(&mut self, _: u64) -> Result<(), CallError> {
        Ok(())
    }

    fn reading(&mut self) -> Result<bool, CallError> {
        Ok(false)
    }

    fn layout(&mut self, _: &str) -> Result<Option<String>, CallError> {
        Ok(None)
    }

    fn publish_layout(&mut self, _: &str, _: &str) -> Result<(), CallError> {
        Ok(())
    }
}

/// Lets process `me` take one step, whose call has this fate.
pub fn step(world: &mut World, me: usize, plan: &Plan, fate: Fate) -> End {
    go(world, me, plan, Some(fate), false)
}

/// Lets process `me` run until it is over.
pub fn run(world: &mut World, me: usize, plan: &Plan) -> End {
    go(world, me, plan, None, true)
}

fn go(world: &mut World, me: usize, plan: &Plan, fate: Option<Fate>, endless: bool) -> End {
    let shards = world.twin.shards.len() as u16;
    let taken = World {
        twin: world.twin.clone(),
        kafka: std::mem::take(&mut world.kafka),
        late: std::mem::take(&mut world.late),
        processes: std::mem::take(&mut world.processes),
    };
    let hand = Hand { world: taken, me, at: 0, fate, endless, stopped: false };
    let shared = Shared(Rc::new(RefCell::new(hand)), shards);
    let end = program(&shared, plan, me);
    let hand = Rc::try_unwrap(shared.0).ok().expect("the program is over").into_inner();
    *world = hand.world;
    world.processes[me].over = end != End::Going;
    let mut published = world.kafka.published.clone();
    published.sort_unstable();
    published.dedup();
    if published.len() != world.kafka.published.len() {
        return End::Wrong(format!("outputs twice: {:?}", world.kafka.published));
    }
    end
}
