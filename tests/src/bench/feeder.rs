//! A feeder that sends as Kafka's own client for Java does: one request for all partitions that have something. librdkafka, which the
//! harness uses elsewhere, sends a request per partition; with 16 of them and small batches the broker does little else than
//! take requests.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiKey, ProduceRequest, ProduceResponse, RequestHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use kafka_protocol::records::{
    Compression, IEEE, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The newest version with topics by name and without tagged fields.
const VERSION: i16 = 8;
/// As Java's client has it by default, which compresses nothing either.
const IN_FLIGHT_MAX: u32 = 5;
/// Java's client waits for 5 ms by default, which is its own time, and half of the budget: who wants actions soon sets less. The shorter the
/// wait, the more requests there are, which are what the broker's time goes to.
const LINGER: Duration = Duration::from_millis(1);
/// Of one partition in one request: what is more waits for the next one.
const RECORDS_MAX: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(300);
const ACK_TIMEOUT_MS: i32 = 30_000;

/// The feeder of one topic, on one connection.
pub struct Feeder {
    to: TcpStream,
    topic: TopicName,
    waiting: Vec<Vec<Record>>,
    /// When the first of them was put.
    since: Option<Instant>,
    requests: u32,
    answers: Arc<AtomicU32>,
    hears: Option<JoinHandle<()>>,
}

impl Feeder {
    /// Connects to the only broker of a cluster.
    pub fn new(bootstrap: &str, topic: &'static str, partitions: u32) -> Self {
        let to = TcpStream::connect(bootstrap).expect("the broker listens");
        to.set_nodelay(true).expect("it is a TCP connection");
        let from = to.try_clone().expect("a connection has two ends");
        let answers = Arc::new(AtomicU32::new(0));
        let heard = answers.clone();
        Self {
            to,
            topic: TopicName(StrBytes::from_static_str(topic)),
            waiting: vec![Vec::new(); partitions as usize],
            since: None,
            requests: 0,
            answers,
            hears: Some(std::thread::spawn(move || hear(from, &heard))),
        }
    }

    /// Puts a message where librdkafka would put it: by the CRC-32 of its key.
    pub fn put(&mut self, key: &[u8], message: &[u8], now_ms: i64) {
        self.since.get_or_insert_with(Instant::now);
        let at = IEEE.checksum(key) as usize % self.waiting.len();
        let records = &mut self.waiting[at];
        let offset = records.len() % RECORDS_MAX;
        records.push(Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            timestamp_type: TimestampType::Creation,
            offset: offset as i64,
            sequence: offset as i32,
            timestamp: now_ms,
            key: Some(Bytes::copy_from_slice(key)),
            value: Some(Bytes::copy_from_slice(message)),
            headers: Default::default(),
        });
    }

    /// Sends what has waited for long enough, unless too many requests are not answered yet: then it waits on.
    pub fn send(&mut self) {
        assert!(self.hears.as_ref().is_some_and(|t| !t.is_finished()), "no more answers");
        let is_due = self.since.is_some_and(|since| since.elapsed() >= LINGER);
        if !is_due || self.in_flight() >= IN_FLIGHT_MAX {
            return;
        }
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        let batches = (0..).zip(&mut self.waiting).filter(|(_, records)| !records.is_empty());
        let batches = batches.map(|(partition, records)| {
            let mut batch = BytesMut::new();
            let some = &records[..records.len().min(RECORDS_MAX)];
            RecordBatchEncoder::encode(&mut batch, some, &options).expect("it is valid");
            records.drain(..some.len());
            PartitionProduceData::default().with_index(partition).with_records(Some(batch.freeze()))
        });
        let batches = batches.collect();
        self.since = self.waiting.iter().any(|w| !w.is_empty()).then(Instant::now);
        let data =
            TopicProduceData::default().with_name(self.topic.clone()).with_partition_data(batches);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(ACK_TIMEOUT_MS)
            .with_topic_data(vec![data]);
        let header = RequestHeader::default()
            .with_request_api_key(ApiKey::Produce as i16)
            .with_request_api_version(VERSION)
            .with_correlation_id(self.requests as i32)
            .with_client_id(Some(StrBytes::from_static_str("feeder")));
        let mut body = BytesMut::new();
        header
            .encode(&mut body, ApiKey::Produce.request_header_version(VERSION))
            .expect("it is valid");
        request.encode(&mut body, VERSION).expect("it is valid");
        let mut framed = (body.len() as u32).to_be_bytes().to_vec();
        framed.extend_from_slice(&body);
        self.to.write_all(&framed).expect("the broker reads");
        self.requests += 1;
    }

    fn in_flight(&self) -> u32 {
        self.requests - self.answers.load(SeqCst)
    }

    /// Sends the rest, and waits until all of it is acknowledged.
    pub fn flush(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.in_flight() > 0 || self.since.is_some() {
            self.send();
            assert!(Instant::now() < until, "the broker does not answer");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        let _ = self.to.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.hears.take() {
            let _ = thread.join();
        }
    }
}

/// Takes answers until the connection ends.
fn hear(mut from: TcpStream, answers: &AtomicU32) {
    let mut length = [0; 4];
    while from.read_exact(&mut length).is_ok() {
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        if from.read_exact(&mut body).is_err() {
            return;
        }
        // Behind the correlation id, which counts up as requests do.
        let mut body = Bytes::from(body).slice(4..);
        let answer =
            ProduceResponse::decode(&mut body, VERSION).expect("Kafka speaks its protocol");
        for partition in answer.responses.iter().flat_map(|topic| &topic.partition_responses) {
            assert_eq!(partition.error_code, 0, "partition {}", partition.index);
        }
        answers.fetch_add(1, SeqCst);
    }
}
