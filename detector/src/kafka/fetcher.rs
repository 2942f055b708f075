//! A consumer whose errors name their partition. rdkafka's own `poll` drops topic, partition and offset of an error, and without them
//! one bad batch would be an error of all partitions; so the consumer's queue is polled here.

#![expect(unsafe_code, reason = "the wrapped client does not say which partition an error is of")]

use super::client::{self, Quiet, QuietConsumer, Settings, Trouble};
use super::journal::{Offsets, Tp};
use super::outcome::Outcome;
use super::token;
use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::client::ClientContext;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

/// Longest wait for the end of a partition that cannot be read on.
const PLACE_WITHIN: Duration = Duration::from_secs(5);

/// A consumer with partitions assigned by hand. No client of it is ever told to stop reading a partition: librdkafka ends the process when a
/// partition is removed twice before the first removal is acknowledged (assertion `rktp_started` in `rdkafka_assignment.c`, 2.12.1).
/// To read a partition from another offset, the client is replaced.
pub struct Fetcher {
    /// Before the client: a handle on a queue is given back before its client is.
    queue: Queue,
    consumer: QuietConsumer,
    settings: Settings,
    assigned: BTreeSet<Tp>,
    paused: BTreeSet<Tp>,
}

/// Why there is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchError {
    /// The client's code.
    pub code: RDKafkaErrorCode,
    /// What the client says about it.
    pub reason: String,
    /// The partition, and the offset if that is known. None: it is about the client.
    pub of: Option<(Tp, Option<i64>)>,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.reason, self.code)
    }
}

impl FetchError {
    /// What is to be done. What names no partition can only be about the client.
    pub fn outcome(&self) -> Outcome {
        match Outcome::of_reported(self.code, &self.reason) {
            Outcome::OutOfRange | Outcome::Unreadable | Outcome::Unusable if self.of.is_none() => {
                Outcome::Restarts
            }
            Outcome::Restarts | Outcome::Refused if self.of.is_some() => Outcome::Unusable,
            outcome => outcome,
        }
    }

    /// Whether it is the end of a partition, which is no error.
    pub fn is_end(&self) -> bool {
        self.code == RDKafkaErrorCode::PartitionEOF
    }

    /// As trouble of the whole, where one partition cannot be done without.
    pub fn trouble(&self, what: &str) -> Trouble {
        let what = match &self.of {
            Some((tp, Some(offset))) => format!("{what} {tp} at offset {offset}"),
            Some((tp, None)) => format!("{what} {tp}"),
            None => what.to_owned(),
        };
        if self.outcome() == Outcome::Unreadable {
            return Trouble::Fatal(format!(
                "{what}: {self}\nhint: look at the broker first: is a disk damaged? `--rebuild-from earliest` makes the state from what can be read, `--cold` begins with an empty one",
            ));
        }
        let error = KafkaError::MessageConsumption(self.code);
        Trouble::of(&format!("{what}: {}", self.reason), &error)
    }
}

impl Fetcher {
    /// Makes a consumer that reads nothing yet.
    ///
    /// # Errors
    /// When a property is refused, or no consumer group is configured, without which the client has no queue.
    pub fn new(settings: &Settings) -> Result<Self, Trouble> {
        let (queue, consumer) = connect(settings)?;
        let (assigned, paused) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { queue, consumer, settings: settings.clone(), assigned, paused })
    }

    /// Reads these partitions from these offsets, and no others. Paused partitions stay paused. Replaces the client if it reads any already.
    ///
    /// # Errors
    /// When a client cannot be made, or refuses.
    pub fn assign(&mut self, at: &Offsets) -> Result<(), Trouble> {
        if !self.assigned.is_empty() {
            let (queue, consumer) = connect(&self.settings)?;
            // In this order, as in the struct.
            self.queue = queue;
            self.consumer = consumer;
            self.assigned.clear();
        }
        self.add(at)?;
        self.paused.retain(|tp| at.contains_key(tp));
        let paused = self.consumer.pause(&named(&self.paused));
        paused.map_err(|e| Trouble::of("cannot pause partitions", &e))
    }

    /// Reads `more` from other offsets, paused or not before. `all` is everything that is to be read, `more` included.
    ///
    /// # Errors
    /// When a client cannot be made, or refuses.
    pub fn read_from(&mut self, more: &Offsets, all: &Offsets) -> Result<(), Trouble> {
        self.paused.retain(|tp| !more.contains_key(tp));
        match more.keys().any(|tp| self.assigned.contains(tp)) {
            true => self.assign(all),
            false => self.add(more),
        }
    }

    /// Reads these as well, none of which is read yet.
    fn add(&mut self, more: &Offsets) -> Result<(), Trouble> {
        let taken = super::source::list(more).and_then(|l| self.consumer.incremental_assign(&l));
        taken.map_err(|e| Trouble::of("cannot take the partitions", &e))?;
        self.assigned.extend(more.keys().cloned());
        Ok(())
    }

    /// Where reading failed: at the offset that the error names, if the partition has it behind `next`, which is to be read next. The client
    /// may take that offset out of the batch that it cannot read, so that it can be any number. Asks the brokers in that case.
    pub fn place(&self, tp: &Tp, named: Option<i64>, next: i64) -> i64 {
        let Some(at) = named.filter(|at| *at > next) else { return next };
        match self.consumer.fetch_watermarks(&tp.topic, tp.partition, PLACE_WITHIN) {
            Ok((_, high)) if at < high => at,
            _ => next,
        }
    }

    /// Sends nothing of these partitions until they are resumed. Those that are not read are left out.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn pause(&mut self, of: &[Tp]) -> KafkaResult<()> {
        let read: Vec<&Tp> = of.iter().filter(|tp| self.assigned.contains(*tp)).collect();
        self.consumer.pause(&named(read.iter().copied()))?;
        self.paused.extend(read.into_iter().cloned());
        Ok(())
    }

    /// Continues behind the last message of each that came out of [`Fetcher::poll`].
    ///
    /// # Errors
    /// When the client does not read one.
    pub fn resume(&mut self, of: &[Tp]) -> KafkaResult<()> {
        self.consumer.resume(&named(of))?;
        self.paused.retain(|tp| !of.contains(tp));
        Ok(())
    }

    /// The offset after the last message of each partition that came out of [`Fetcher::poll`], or after marks of transactions behind it.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn position(&self) -> KafkaResult<Offsets> {
        let found = self.consumer.position()?;
        let known = found.elements().into_iter().filter_map(|element| {
            let tp = Tp { topic: element.topic().into(), partition: element.partition() };
            Some((tp, element.offset().to_raw().filter(|offset| *offset >= 0)?))
        });
        Ok(known.collect())
    }

    /// The next message or error, if one comes within `wait`.
    pub fn poll(&self, wait: Duration) -> Option<Result<Fetched<'_>, FetchError>> {
        let until = Instant::now() + wait;
        let mut left = wait;
        loop {
            let ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
            // SAFETY: the queue is alive; an event that comes is this caller's, and `Event` gives it back.
            let event = unsafe { sys::rd_kafka_queue_poll(self.queue.0.as_ptr(), ms) };
            if let Some(event) = NonNull::new(event).map(Event) {
                if let Some(found) = self.take(event) {
                    return Some(found);
                }
            } else if left.is_zero() || Instant::now() >= until {
                return None;
            }
            left = until.saturating_duration_since(Instant::now());
        }
    }

    /// What an event says; nothing when it is for the client itself.
    fn take(&self, event: Event) -> Option<Result<Fetched<'_>, FetchError>> {
        match event.kind() {
            sys::RD_KAFKA_EVENT_FETCH => {
                // SAFETY: the event is alive and of this kind; the message lies in it.
                let message = unsafe { sys::rd_kafka_event_message_next(event.0.as_ptr()) };
                let message = NonNull::new(message.cast_mut())?;
                Some(Ok(Fetched { message, _event: event, _of: PhantomData }))
            }
            sys::RD_KAFKA_EVENT_ERROR => {
                let error = event.error()?;
                if error.of.is_none() {
                    let said = KafkaError::Global(error.code);
                    self.consumer.context().error(said, &error.reason);
                }
                Some(Err(error))
            }
            sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH => {
                self.refresh_token();
                None
            }
            // Statistics; there are no rebalances and no commits here.
            _ => None,
        }
    }

    fn refresh_token(&self) {
        let quiet: &Quiet = self.consumer.context();
        let fetched = quiet.generate_oauth_token(None).map_err(|e| e.to_string());
        let given = fetched.and_then(|token| token::give(self.consumer.client(), token));
        if let Err(why) = given {
            let text = CString::new(why.replace('\0', " ")).unwrap_or_default();
            // SAFETY: the client is alive, and copies the text, which ends in a zero byte.
            unsafe {
                let client = self.consumer.client().native_ptr();
                sys::rd_kafka_oauthbearer_set_token_failure(client, text.as_ptr());
            }
        }
    }
}

fn named<'a>(of: impl IntoIterator<Item = &'a Tp>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for tp in of {
        list.add_partition(&tp.topic, tp.partition);
    }
    list
}

/// A client, and a handle on its queue.
fn connect(settings: &Settings) -> Result<(Queue, QuietConsumer), Trouble> {
    let consumer = client::make(settings)?;
    // SAFETY: the client is alive; the handle is given back when `Queue` is dropped, which is before the client is.
    let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
    let queue = NonNull::new(queue).map(Queue);
    let queue = queue.ok_or_else(|| Trouble::Fatal("no consumer group is configured".into()))?;
    Ok((queue, consumer))
}

/// A handle on the consumer's queue.
struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues are locked inside, and may be used from any thread.
unsafe impl Send for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the handle is this one's, and is given back once.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// Something out of the queue.
struct Event(NonNull<sys::rd_kafka_event_t>);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event is this one's, and is given back once.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

impl Event {
    fn kind(&self) -> i32 {
        // SAFETY: the event is alive.
        unsafe { sys::rd_kafka_event_type(self.0.as_ptr()) }
    }

    /// What is wrong, of an event that says so.
    fn error(&self) -> Option<FetchError> {
        let event = self.0.as_ptr();
        // SAFETY: the event is alive, so is its text, and both are copied; the partition is a copy of this caller's, given back once.
        unsafe {
            let code = sys::rd_kafka_event_error(event);
            if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            let reason = text(sys::rd_kafka_event_error_string(event));
            let partition = sys::rd_kafka_event_topic_partition(event);
            let of = NonNull::new(partition).map(|partition| {
                let found = partition.as_ref();
                let tp = Tp { topic: text(found.topic), partition: found.partition };
                let offset = Some(found.offset).filter(|offset| *offset >= 0);
                sys::rd_kafka_topic_partition_destroy(partition.as_ptr());
                (tp, offset)
            });
            Some(FetchError { code: code.into(), reason, of })
        }
    }
}

/// A copy of a text of the client's.
///
/// # Safety
/// It is null, or ends in a zero byte and lives as long as this call.
unsafe fn text(of: *const c_char) -> String {
    if of.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(of) }.to_string_lossy().trim().to_owned()
}

/// A message, in the client's memory.
pub struct Fetched<'a> {
    message: NonNull<sys::rd_kafka_message_t>,
    /// Holds the message.
    _event: Event,
    /// Messages are given back before their client is.
    _of: PhantomData<&'a Fetcher>,
}

impl Fetched<'_> {
    fn message(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: the message lies in the event, which lives as long as `self`, and nobody changes it.
        unsafe { self.message.as_ref() }
    }

    /// Topic.
    pub fn topic(&self) -> &str {
        // SAFETY: a message of a consumer has its topic, whose name ends in a zero byte and lives as long as the message.
        let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.message().rkt)) };
        // Brokers take no names but of ASCII.
        name.to_str().unwrap_or_default()
    }

    /// Partition.
    pub fn partition(&self) -> i32 {
        self.message().partition
    }

    /// Offset.
    pub fn offset(&self) -> i64 {
        self.message().offset
    }

    /// Topic and partition.
    pub fn tp(&self) -> Tp {
        Tp { topic: self.topic().into(), partition: self.partition() }
    }

    /// Key, if there is one.
    pub fn key(&self) -> Option<&[u8]> {
        let message = self.message();
        // SAFETY: the client says where the key is and how long; it lives as long as the message.
        unsafe { bytes(message.key.cast(), message.key_len) }
    }

    /// Payload, if there is one.
    pub fn payload(&self) -> Option<&[u8]> {
        let message = self.message();
        // SAFETY: as for the key.
        unsafe { bytes(message.payload.cast(), message.len) }
    }

    /// Milliseconds since the epoch, as the producer or the broker gave them.
    pub fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, and `kind` is written to.
        let ms = unsafe { sys::rd_kafka_message_timestamp(self.message.as_ptr(), &raw mut kind) };
        let is_given = kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        Some(ms).filter(|ms| is_given && *ms >= 0)
    }

    /// The last header of a name.
    pub fn header(&self, name: &CStr) -> Option<&[u8]> {
        let (mut all, mut value, mut len) = (ptr::null_mut(), ptr::null(), 0);
        // SAFETY: the message is alive and keeps its headers; what is written to are locals of the right types; a value lives as long
        // as the headers do.
        unsafe {
            let none = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
            if sys::rd_kafka_message_headers(self.message.as_ptr(), &raw mut all) != none {
                return None;
            }
            let found =
                sys::rd_kafka_header_get_last(all, name.as_ptr(), &raw mut value, &raw mut len);
            if found == none { bytes(value.cast(), len) } else { None }
        }
    }
}

/// Bytes of the client's.
///
/// # Safety
/// `at` is null, or there are `len` bytes that live as long as `'a` and do not change.
unsafe fn bytes<'a>(at: *const u8, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!at.is_null()).then(|| unsafe { std::slice::from_raw_parts(at, len) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::config::KafkaSection;
    use rdkafka::ClientConfig;
    use rdkafka::message::{Header, OwnedHeaders};
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    fn tp(partition: i32) -> Tp {
        Tp { topic: "events".into(), partition }
    }

    fn error(code: RDKafkaErrorCode, of: Option<(Tp, Option<i64>)>) -> FetchError {
        FetchError { code, reason: "said so".into(), of }
    }

    #[test]
    fn only_what_names_no_partition_is_about_the_client() {
        use RDKafkaErrorCode::*;
        let table = [
            (BadCompression, true, Outcome::Unreadable),
            (BadCompression, false, Outcome::Restarts),
            (AutoOffsetReset, true, Outcome::OutOfRange),
            (AutoOffsetReset, false, Outcome::Restarts),
            (TopicAuthorizationFailed, true, Outcome::Unusable),
            (TopicAuthorizationFailed, false, Outcome::Restarts),
            (Unknown, true, Outcome::Unusable),
            (Unknown, false, Outcome::Restarts),
            (Fatal, false, Outcome::Restarts),
            (Authentication, true, Outcome::Unusable),
            (Authentication, false, Outcome::Refused),
            (PartitionEOF, true, Outcome::Retried),
            (AllBrokersDown, false, Outcome::Retried),
        ];
        for (code, names_one, expected) in table {
            let of = names_one.then(|| (tp(3), Some(7)));
            assert_eq!(error(code, of).outcome(), expected, "{code:?} {names_one}");
        }
    }

    #[test]
    fn trouble_names_the_place_and_ends_what_nobody_can_mend() {
        let of = Some((tp(3), Some(7)));
        let trouble = error(RDKafkaErrorCode::BadMessage, of.clone()).trouble("cannot read");
        let Trouble::Fatal(said) = &trouble else { panic!("{trouble}") };
        assert!(said.contains("events-3 at offset 7") && said.contains("hint"), "{said}");
        let trouble = error(RDKafkaErrorCode::Unknown, of).trouble("cannot read");
        assert!(matches!(trouble, Trouble::StartOver(_)), "{trouble}");
    }

    /// What comes next, ends of partitions apart.
    fn next(fetcher: &Fetcher) -> Result<Fetched<'_>, FetchError> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            match fetcher.poll(Duration::from_millis(100)) {
                Some(Err(error)) if error.is_end() => {}
                Some(found) => return found,
                None => assert!(Instant::now() < until, "nothing comes"),
            }
        }
    }

    #[test]
    fn messages_have_all_their_parts_and_errors_their_partition() {
        let cluster = MockCluster::new(1).expect("a mock");
        cluster.create_topic("events", 4, 1).expect("a topic");
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create()
            .expect("a producer");
        let headers = [("a", "first"), ("b", "other"), ("a", "last")]
            .into_iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value) })
            });
        let whole = BaseRecord::to("events")
            .partition(2)
            .key("key")
            .payload("payload")
            .timestamp(1_522_540_831_000)
            .headers(headers);
        producer.send(whole).map_err(|(e, _)| e).expect("there is room");
        producer.flush(Duration::from_secs(60)).expect("it is delivered");
        let bare: BaseRecord<'_, (), ()> = BaseRecord::to("events").partition(2);
        producer.send(bare).map_err(|(e, _)| e).expect("there is room");
        producer.flush(Duration::from_secs(60)).expect("it is delivered");

        let bootstrap = cluster.bootstrap_servers();
        let section = KafkaSection { bootstrap, ..KafkaSection::default() };
        let mut fetcher = Fetcher::new(&client::reader(&section)).expect("a consumer");
        let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        cluster.request_errors(RDKafkaApiKey::Fetch, &[refused]);
        fetcher.assign(&[(tp(2), 0)].into()).expect("it is taken");
        let Err(error) = next(&fetcher) else { panic!("it was read") };
        assert_eq!(error.code, RDKafkaErrorCode::TopicAuthorizationFailed);
        assert_eq!(error.of, Some((tp(2), Some(0))));
        assert!(!error.reason.is_empty());

        let message = next(&fetcher).expect("it is read");
        assert_eq!((message.tp(), message.offset()), (tp(2), 0));
        assert_eq!((message.key(), message.payload()), (Some(&b"key"[..]), Some(&b"payload"[..])));
        assert_eq!(message.timestamp_ms(), Some(1_522_540_831_000));
        assert_eq!(message.header(c"a"), Some(&b"last"[..]));
        assert_eq!(message.header(c"c"), None);
        drop(message);
        let message = next(&fetcher).expect("it is read");
        assert_eq!((message.offset(), message.key(), message.payload()), (1, None, None));
        assert_eq!(message.header(c"a"), None);
        drop(message);
        assert_eq!(fetcher.position().expect("it is known"), [(tp(2), 2)].into());
    }

    fn next_message(fetcher: &Fetcher) -> Fetched<'_> {
        next(fetcher).expect("it is read")
    }

    #[test]
    fn partitions_are_read_from_other_offsets_as_often_as_asked() {
        const PARTITIONS: i32 = 4;
        const EACH: i64 = 10;
        let cluster = MockCluster::new(1).expect("a mock");
        cluster.create_topic("events", PARTITIONS, 1).expect("a topic");
        let bootstrap = cluster.bootstrap_servers();
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &bootstrap).create().expect("a producer");
        for number in 0..EACH * i64::from(PARTITIONS) {
            let payload = number.to_string();
            let partition = i32::try_from(number).expect("small") % PARTITIONS;
            let record = BaseRecord::<str, _>::to("events").partition(partition).payload(&payload);
            producer.send(record).map_err(|(e, _)| e).expect("there is room");
        }
        producer.flush(Duration::from_secs(60)).expect("it is delivered");

        let section = KafkaSection { bootstrap, ..KafkaSection::default() };
        let mut fetcher = Fetcher::new(&client::reader(&section)).expect("a consumer");
        let mut next: Offsets = [(tp(0), 0), (tp(1), 0)].into();
        fetcher.assign(&next).expect("it is taken");
        fetcher.pause(&[tp(1), tp(3)]).expect("it is taken");
        // Without a pause in between, before the client has begun, and after.
        for round in 0..12 {
            let (of, at) = (tp(round % PARTITIONS), i64::from(round % 5));
            next.insert(of.clone(), at);
            fetcher.read_from(&[(of, at)].into(), &next).expect("it is taken");
            if round % 4 == 3 {
                let message = next_message(&fetcher);
                let at = next.get_mut(&message.tp()).expect("it is read");
                assert_eq!(message.offset(), *at, "{}", message.tp());
                *at += 1;
            }
        }
        fetcher.pause(&[tp(2)]).expect("it is taken");
        next.insert(tp(0), 6);
        fetcher.read_from(&[(tp(0), 6)].into(), &next).expect("it is taken");
        let is_open = |next: &Offsets, paused: &[Tp]| {
            next.iter().any(|(tp, at)| !paused.contains(tp) && *at < EACH)
        };
        let mut read = |fetcher: &Fetcher, paused: &[Tp]| {
            while is_open(&next, paused) {
                let message = next_message(fetcher);
                assert!(!paused.contains(&message.tp()), "{} is paused", message.tp());
                let at = next.get_mut(&message.tp()).expect("it is read");
                assert_eq!(message.offset(), *at, "{}", message.tp());
                *at += 1;
            }
        };
        read(&fetcher, &[tp(2)]);
        fetcher.resume(&[tp(2)]).expect("it is taken");
        read(&fetcher, &[]);
        assert_eq!(next.into_values().collect::<Vec<_>>(), [EACH; 4]);
    }
}
