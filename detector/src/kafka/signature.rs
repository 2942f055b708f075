//! Signatures of what is read back. The journal and the actions are part of the state, and others may be able to write to their
//! topics: each record carries a number and an HMAC under a secret that lies in Redis with the state. A record without them is not
//! ours and is passed over; one that was written before and was copied has a number that was there already.

use super::fetcher::Fetched;
use super::publish::{CAP_HOUR, Committed};
use crate::telemetry::Telemetry;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Header of a record: `1.<number>.<HMAC-SHA-256 in hex>`.
pub const SIGNATURE: &str = "detector-signature";
/// The same, for the client.
const HEADER: &CStr = c"detector-signature";
const VERSION: &str = "1";
/// A start numbers its records from so far behind the newest one that it has seen: an instance that was paused may still write some.
const LEAP: u64 = 1 << 20;
/// As [`LEAP`], where the newest records were not read.
const LEAP_UNREAD: u64 = 1 << 40;
/// Records of others are told in the log this often at most.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// Which topic a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The journal.
    Journal,
    /// The actions.
    Actions,
}

/// 256 random bits. Never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret([u8; 32]);

impl Secret {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    fn mac(&self, of: Of, number: u64, record: &Content<'_>) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.block().into());
        mac.update(match of {
            Of::Journal => b"detector journal",
            Of::Actions => b"detector actions",
        });
        mac.update(&number.to_le_bytes());
        mac.update(&record.partition.unwrap_or(-1).to_le_bytes());
        for part in [record.key, record.cap_hour.unwrap_or_default(), record.payload] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
    }

    /// As a block of SHA-256, which is how a shorter key is used.
    fn block(&self) -> [u8; 64] {
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.0);
        block
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        hex(&secret.0)
    }
}

impl TryFrom<String> for Secret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        from_hex(&text).map(Self).ok_or("a signing secret has 64 hexadecimal digits")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// What is signed of a record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Content<'a> {
    /// The partition that it was written to; `None`: the client chose it, and it is not known when a record is signed.
    pub partition: Option<i32>,
    /// The key; empty for none.
    pub key: &'a [u8],
    /// The header that says in which hour an action counted.
    pub cap_hour: Option<&'a [u8]>,
    /// The value.
    pub payload: &'a [u8],
}

/// What is signed of a message, and its signature.
pub fn of<'a>(message: &'a Fetched<'_>) -> (Content<'a>, Option<&'a [u8]>) {
    let content = Content {
        partition: Some(message.partition()),
        key: message.key().unwrap_or_default(),
        cap_hour: message.header(CAP_HOUR),
        payload: message.payload().unwrap_or_default(),
    };
    (content, message.header(HEADER))
}

/// What a checkpoint says of signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signing {
    /// The secret.
    pub secret: Secret,
    /// Records up to the checkpoint have no higher number, those behind it no lower one.
    pub number: u64,
    /// The journal has signatures from this offset on.
    pub journal: i64,
    /// The actions have, by partition; in one that is not named, all.
    pub actions: BTreeMap<i32, i64>,
}

impl Signing {
    /// With a new secret: what the topics hold before these ends has no signature, or one that nobody can check any more.
    #[must_use]
    pub fn of(ends: Committed) -> Self {
        let Committed { journal, actions, .. } = ends;
        Self { secret: Secret::random(), number: 0, journal, actions }
    }

    /// For a state that is made on a person's word and does not read what was written last.
    #[must_use]
    pub fn unread(self) -> Self {
        Self { number: self.number.saturating_add(LEAP_UNREAD), ..self }
    }
}

/// Signs the records of one publisher.
#[derive(Debug)]
pub struct Signer {
    secret: Secret,
    newest: AtomicU64,
}

impl Signer {
    /// Behind the newest number that was seen.
    #[must_use]
    pub fn behind(secret: Secret, seen: u64) -> Self {
        Self { secret, newest: AtomicU64::new(seen.saturating_add(LEAP)) }
    }

    /// The number of the newest record.
    pub fn newest(&self) -> u64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// The signature of the next record. Records are to be sent in this order.
    pub fn sign(&self, of: Of, record: &Content<'_>) -> String {
        let number = self.newest.fetch_add(1, Ordering::Relaxed) + 1;
        let mac = self.secret.mac(of, number, record).finalize().into_bytes();
        format!("{VERSION}.{number}.{}", hex(&mac))
    }

    /// The number of a record that was signed with the same secret.
    ///
    /// # Errors
    /// Why it was not.
    pub fn check(
        &self,
        of: Of,
        signature: Option<&[u8]>,
        record: &Content<'_>,
    ) -> Result<u64, Foreign> {
        verified(&self.secret, of, signature, record)
    }
}

/// Why a record is not taken for ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// It has no signature.
    Unsigned,
    /// Its signature is not that of our secret.
    Forged,
    /// It is ours, and was there before; or an instance that was paused wrote it too late.
    Repeated,
    /// It is no record of its topic.
    Unreadable,
}

impl Foreign {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unsigned, Self::Forged, Self::Repeated, Self::Unreadable];

    /// As metrics and logs name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Forged => "forged",
            Self::Repeated => "repeated",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The number of a record with a right signature.
fn verified(
    secret: &Secret,
    of: Of,
    signature: Option<&[u8]>,
    record: &Content<'_>,
) -> Result<u64, Foreign> {
    let text = std::str::from_utf8(signature.ok_or(Foreign::Unsigned)?);
    let mut parts = text.map_err(|_| Foreign::Forged)?.split('.');
    let (version, number, mac) = (parts.next(), parts.next(), parts.next());
    let number = number.and_then(|number| number.parse().ok());
    let mac = mac.and_then(from_hex::<32>);
    let (Some(VERSION), Some(number), Some(mac), None) = (version, number, mac, parts.next())
    else {
        return Err(Foreign::Forged);
    };
    let is_of = |record: &Content<'_>| secret.mac(of, number, record).verify_slice(&mac).is_ok();
    let anywhere = Content { partition: None, ..*record };
    if is_of(record) || is_of(&anywhere) { Ok(number) } else { Err(Foreign::Forged) }
}

/// Tells our records of a topic from those of others, in the order of each partition.
#[derive(Clone, Debug)]
pub struct Verifier {
    of: Of,
    /// Without one, the state is from before records were signed.
    secret: Option<Secret>,
    /// What lies before these offsets is believed.
    from: BTreeMap<i32, i64>,
    /// Numbers behind them are above this.
    least: u64,
    /// The number of the newest record, by partition.
    newest: BTreeMap<i32, u64>,
}

impl Verifier {
    /// Reads behind a checkpoint at these offsets. Without `signing` everything is believed.
    #[must_use]
    pub fn behind(of: Of, signing: Option<&Signing>, at: &BTreeMap<i32, i64>) -> Self {
        let mut verifier = Self::first(of, signing);
        verifier.learn(signing, at);
        verifier
    }

    /// Reads from the first record on.
    #[must_use]
    pub fn first(of: Of, signing: Option<&Signing>) -> Self {
        let from = signing.map(|signing| signed_from(of, signing)).unwrap_or_default();
        let secret = signing.map(|signing| signing.secret.clone());
        Self { of, secret, from, least: 0, newest: BTreeMap::new() }
    }

    /// A newer checkpoint, at these offsets, has a secret.
    pub fn learn(&mut self, signing: Option<&Signing>, at: &BTreeMap<i32, i64>) {
        let Some(signing) = signing else { return };
        self.secret = Some(signing.secret.clone());
        self.least = signing.number;
        self.from = signed_from(self.of, signing);
        for (partition, offset) in at {
            let from = self.from.entry(*partition).or_insert(*offset);
            *from = (*from).max(*offset);
        }
    }

    /// Whether it is the secret of this one.
    #[must_use]
    pub fn is_of(&self, signing: Option<&Signing>) -> bool {
        self.secret.as_ref() == signing.map(|signing| &signing.secret)
    }

    /// Whether everything is believed.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.secret.is_none()
    }

    /// The number of a record of ours; `None` where it need not have one.
    ///
    /// # Errors
    /// Why it is not ours.
    pub fn check(
        &self,
        partition: i32,
        offset: i64,
        signature: Option<&[u8]>,
        record: &Content<'_>,
    ) -> Result<Option<u64>, Foreign> {
        let number = self.number(partition, offset, signature, record)?;
        if self.is_newer(partition, number) { Ok(number) } else { Err(Foreign::Repeated) }
    }

    /// As [`Verifier::check`], of a record that may have been there before.
    ///
    /// # Errors
    /// Why it is not ours.
    pub fn number(
        &self,
        partition: i32,
        offset: i64,
        signature: Option<&[u8]>,
        record: &Content<'_>,
    ) -> Result<Option<u64>, Foreign> {
        let Some(secret) = &self.secret else { return Ok(None) };
        if self.from.get(&partition).is_some_and(|from| offset < *from) {
            return Ok(None);
        }
        verified(secret, self.of, signature, record).map(Some)
    }

    /// Whether a record with this number was not there before.
    #[must_use]
    pub fn is_newer(&self, partition: i32, number: Option<u64>) -> bool {
        let newest = self.newest.get(&partition).copied().unwrap_or(self.least);
        number.is_none_or(|number| number > newest)
    }

    /// A record counts: those behind it have higher numbers.
    pub fn accept(&mut self, partition: i32, number: Option<u64>) {
        if let Some(number) = number {
            self.newest.insert(partition, number);
        }
    }

    /// The highest number of all that counted.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.newest.values().copied().max().unwrap_or_default().max(self.least)
    }
}

fn signed_from(of: Of, signing: &Signing) -> BTreeMap<i32, i64> {
    match of {
        Of::Journal => [(0, signing.journal)].into(),
        Of::Actions => signing.actions.clone(),
    }
}

/// Says what is found of others in a topic: counted all, and in the log a few.
pub struct Strangers {
    topic: String,
    telemetry: Telemetry,
    unsaid: u64,
    said: Option<Instant>,
}

impl Strangers {
    /// None found yet.
    #[must_use]
    pub fn new(topic: &str, telemetry: Telemetry) -> Self {
        Self { topic: topic.into(), telemetry, unsaid: 0, said: None }
    }

    /// A record of somebody else lies here.
    pub fn found(&mut self, partition: i32, offset: i64, why: Foreign) {
        self.telemetry.foreign(&self.topic, why);
        self.unsaid += 1;
        if self.said.is_some_and(|said| said.elapsed() < SAID_EVERY) {
            return;
        }
        self.said = Some(Instant::now());
        tracing::warn!(
            event = "foreign_record",
            topic = self.topic,
            partition,
            offset,
            reason = why.as_str(),
            records = std::mem::take(&mut self.unsaid),
            "record of another writer passed over"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(signer: &Signer, of: Of, record: &Content<'_>) -> Vec<u8> {
        signer.sign(of, record).into_bytes()
    }

    fn content(payload: &[u8]) -> Content<'_> {
        Content { partition: Some(0), key: b"a7", cap_hour: Some(b"492"), payload }
    }

    fn signing() -> Signing {
        Signing::of(Committed { journal: 10, actions: [(0, 5), (1, 0)].into(), number: 0 })
    }

    #[test]
    fn records_of_others_are_told_from_ours() {
        let signing = signing();
        let signer = Signer::behind(signing.secret.clone(), signing.number);
        let verifier = Verifier::first(Of::Actions, Some(&signing));
        let ours = signed(&signer, Of::Actions, &content(b"ban"));
        let check = |signature: Option<&[u8]>, record: &Content<'_>| {
            verifier.check(0, 7, signature, record)
        };
        let number = LEAP + 1;
        assert_eq!(check(Some(&ours), &content(b"ban")), Ok(Some(number)));
        let other = Content { key: b"a8", ..content(b"ban") };
        let hour = Content { cap_hour: Some(b"493"), ..content(b"ban") };
        let shifted = Content { key: b"a74", cap_hour: Some(b"92"), ..content(b"ban") };
        let elsewhere = Content { partition: Some(1), ..content(b"ban") };
        let table = [
            ("no signature", None, content(b"ban"), Foreign::Unsigned),
            ("empty", Some(b"".to_vec()), content(b"ban"), Foreign::Forged),
            ("no text", Some(vec![0xff; 9]), content(b"ban"), Foreign::Forged),
            ("another payload", Some(ours.clone()), content(b"bam"), Foreign::Forged),
            ("another account", Some(ours.clone()), other, Foreign::Forged),
            ("another hour", Some(ours.clone()), hour, Foreign::Forged),
            ("copied into another partition", Some(ours.clone()), elsewhere, Foreign::Forged),
            ("bytes moved between parts", Some(ours.clone()), shifted, Foreign::Forged),
            (
                "a longer signature",
                Some([&ours[..], b".x"].concat()),
                content(b"ban"),
                Foreign::Forged,
            ),
            (
                "of the journal",
                Some(signed(&signer, Of::Journal, &content(b"ban"))),
                content(b"ban"),
                Foreign::Forged,
            ),
            (
                "another number",
                Some(b"1.9".iter().chain(&ours[3..]).copied().collect()),
                content(b"ban"),
                Foreign::Forged,
            ),
            (
                "another secret",
                Some(signed(&Signer::behind(Secret::random(), 0), Of::Actions, &content(b"ban"))),
                content(b"ban"),
                Foreign::Forged,
            ),
        ];
        for (what, signature, record, expected) in table {
            assert_eq!(check(signature.as_deref(), &record), Err(expected), "{what}");
        }
        // With a partitioner of the user's nobody knows beforehand where it will lie.
        let anywhere = Content { partition: None, ..content(b"ban") };
        let free = signed(&signer, Of::Actions, &anywhere);
        assert!(check(Some(&free), &content(b"ban")).is_ok());
    }

    #[test]
    fn copied_records_are_repeated_wherever_they_come_from() {
        let signing = signing();
        let signer = Signer::behind(signing.secret.clone(), signing.number);
        let records: Vec<Vec<u8>> =
            (0..6).map(|_| signed(&signer, Of::Journal, &content(b"x"))).collect();
        // A checkpoint behind the third one.
        let base = Signing { number: LEAP + 3, ..signing };
        let mut verifier = Verifier::behind(Of::Journal, Some(&base), &[(0, 20)].into());
        let mut counts = |record: usize| {
            let found = verifier.check(0, 30, Some(&records[record]), &content(b"x"));
            if let Ok(number) = found {
                verifier.accept(0, number);
            }
            found.is_ok()
        };
        let (order, expected) = ([0, 2, 3, 3, 4, 2, 4, 5, 3, 5], [3, 4, 5]);
        let counted: Vec<usize> = order.into_iter().filter(|record| counts(*record)).collect();
        assert_eq!(counted, expected);
        assert_eq!(verifier.highest(), LEAP + 6);
        let next = Signer::behind(base.secret, verifier.highest());
        assert!(next.newest() > verifier.highest());
    }

    #[test]
    fn what_was_written_before_signatures_is_believed_and_nothing_behind() {
        let signing = signing();
        let plain = content(b"x");
        let table = [(0, 4, true), (0, 5, false), (1, 0, false), (2, 0, false)];
        let verifier = Verifier::first(Of::Actions, Some(&signing));
        for (partition, offset, believed) in table {
            let found = verifier.check(partition, offset, None, &plain);
            assert_eq!(found.is_ok(), believed, "{partition} {offset}");
        }
        let mut blind = Verifier::behind(Of::Actions, None, &[(0, 3)].into());
        assert!(blind.is_blind() && blind.check(0, 100, None, &plain).is_ok());
        // The next checkpoint lies at 8, and 3 to 7 are still to be read.
        blind.learn(Some(&signing), &[(0, 8)].into());
        assert!(!blind.is_blind() && blind.is_of(Some(&signing)));
        assert!(blind.check(0, 7, None, &plain).is_ok());
        assert_eq!(blind.check(0, 8, None, &plain), Err(Foreign::Unsigned));
    }

    #[test]
    fn a_checkpoint_keeps_the_secret_and_nothing_shows_it() {
        let signing = signing();
        let text = serde_json::to_string(&signing).expect("it is JSON");
        assert_eq!(serde_json::from_str::<Signing>(&text).expect("it is read"), signing);
        let hex = String::from(signing.secret.clone());
        assert!(text.contains(&hex) && !format!("{signing:?}").contains(&hex[..8]));
        assert!(serde_json::from_str::<Signing>(&text.replace(&hex, &hex[2..])).is_err());
        let kept = Signing { number: 7, ..signing }.unread();
        assert!(kept.number > 7 + LEAP);
    }
}
