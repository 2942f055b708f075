//! What lies in the topics at the end.

use super::reference::Message as Taken;
use detector::kafka::client;
use detector::kafka::config::KafkaSection;
use detector::kafka::fetcher::{Fetched, Fetcher};
use detector::kafka::journal::Tp;
use detector::kafka::source::{Batch, Incoming, Reader};
use detector::kafka::topics::Topics;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Every committed message of a topic, each partition in its order.
pub fn each(section: &KafkaSection, topic: &str, mut take: impl FnMut(&Fetched<'_>)) {
    let mut fetcher = Fetcher::new(&client::reader(section)).expect("a consumer");
    let topics = Topics::new(section).expect("a consumer");
    let count = topics.partitions(topic).expect("the topic is there");
    let from = (0..count).map(|partition| (Tp { topic: topic.into(), partition }, 0)).collect();
    fetcher.assign(&from).expect("the partitions can be taken");
    let mut open = count;
    while open > 0 {
        match fetcher.poll(Duration::from_secs(30)).expect("the broker sends") {
            Ok(message) => take(&message),
            Err(error) if error.is_end() => open -= 1,
            Err(error) => panic!("{topic}: {error:?}"),
        }
    }
}

/// The payloads of a topic, as text.
pub fn lines(section: &KafkaSection, topic: &str) -> Vec<String> {
    let mut all = Vec::new();
    each(section, topic, |message| {
        all.push(String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
    });
    all
}

/// The inputs: by partition, each message as the service reads it, and the ids of the events that can be read.
pub struct Inputs {
    /// Messages.
    pub messages: BTreeMap<Tp, VecDeque<Taken>>,
    /// How often each event id stands in them.
    pub ids: BTreeMap<String, u32>,
    /// How many messages are events, labels.
    pub events: u64,
    /// Messages in topics of labels.
    pub labels: u64,
}

/// Reads the inputs as `reader` does.
pub fn inputs(section: &KafkaSection, reader: &Reader) -> Inputs {
    let mut found =
        Inputs { messages: BTreeMap::new(), ids: BTreeMap::new(), events: 0, labels: 0 };
    for (topic, label) in
        section.events.iter().map(|t| (t, false)).chain(section.labels.iter().map(|t| (t, true)))
    {
        each(section, topic, |message| {
            let tp = Tp { topic: topic.clone(), partition: message.partition() };
            let mut batch = Batch::default();
            let read = reader.read(&Incoming::of(message), &mut batch);
            read.expect("no schema is waited for");
            if label {
                found.labels += 1;
            } else {
                found.events += 1;
                let payload = message.payload().unwrap_or_default();
                let id = serde_json::from_slice::<Value>(payload).ok();
                if let Some(id) = id.as_ref().and_then(|v| v["event_id"].as_str()) {
                    *found.ids.entry(id.to_owned()).or_default() += 1;
                }
            }
            let taken = Taken {
                offset: message.offset(),
                inputs: batch.inputs,
                damaged: !batch.dead.is_empty(),
            };
            found.messages.entry(tp).or_default().push_back(taken);
        });
    }
    found
}

/// Where each dead letter lay: topic, partition and offset.
pub fn dead_letters(section: &KafkaSection) -> Vec<(Tp, i64)> {
    let mut all = Vec::new();
    each(section, &section.dead_letters, |message| {
        let header = |name| {
            let found = message.header(name).expect("it says where it lay");
            String::from_utf8_lossy(found).into_owned()
        };
        let tp = Tp {
            topic: header(c"topic"),
            partition: header(c"partition").parse().expect("a number"),
        };
        all.push((tp, header(c"offset").parse().expect("a number")));
    });
    all
}
