//! Events and labels as the simulated platform sends them.

use super::kinds::{ActorKind, EventType};
use super::names::{NONE, Names, cents, number};
use super::places::{COUNTRIES, Network, Place};

/// One event. [`SimEvent::write_json`] gives the wire form; the fields that follow `truth` are what a
/// detector must not see.
#[derive(Clone, Copy, Debug)]
pub struct SimEvent {
    pub(super) names: Names,
    /// Serial number, from 1; the event id is `e-` and this.
    pub serial: u64,
    /// When, milliseconds since 1970. Never less than the event before.
    pub ts_ms: i64,
    /// What.
    pub event_type: EventType,
    /// Index of the account, below [`super::Plan::accounts`].
    pub account: u32,
    pub(super) target: u32,
    pub(super) place: Place,
    pub(super) card: u32,
    pub(super) payout: u32,
    pub(super) content: u32,
    pub(super) phone: u32,
    pub(super) amount_cents: u32,
    pub(super) text_length: u32,
    pub(super) has_url: bool,
    pub(super) has_contact: bool,
    pub(super) verified: bool,
    pub(super) stars: u8,
    pub(super) field: &'static str,
    /// What the account is at this moment: a stolen account is [`ActorKind::Takeover`] only after the theft,
    /// and only in the thief's events.
    pub truth: ActorKind,
    /// The event does the harm itself; bad accounts also do things that look honest.
    pub harmful: bool,
}

impl SimEvent {
    pub(super) fn new(
        names: Names,
        ts_ms: i64,
        event_type: EventType,
        account: u32,
        place: Place,
    ) -> Self {
        Self {
            names,
            serial: 0,
            ts_ms,
            event_type,
            account,
            target: NONE,
            place,
            card: NONE,
            payout: NONE,
            content: NONE,
            phone: NONE,
            amount_cents: 0,
            text_length: 0,
            has_url: false,
            has_contact: false,
            verified: false,
            stars: 0,
            field: "",
            truth: ActorKind::Ordinary,
            harmful: false,
        }
    }

    /// The event id on the wire.
    pub fn event_id(&self) -> String {
        format!("e-{}", self.serial)
    }

    /// The account's name on the wire.
    pub fn account_id(&self) -> String {
        self.name_of(self.account)
    }

    /// The name of the account acted upon, if any.
    pub fn target_id(&self) -> Option<String> {
        self.target().map(|target| self.name_of(target))
    }

    /// Index of the account acted upon, if any.
    pub fn target(&self) -> Option<u32> {
        (self.target != NONE).then_some(self.target)
    }

    fn name_of(&self, account: u32) -> String {
        let mut out = Vec::with_capacity(12);
        self.names.account(&mut out, account);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Appends the event as one JSON object without a line end: about 260 bytes, about 1 us.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let names = self.names;
        out.extend_from_slice(b"{\"event_id\":\"e-");
        number(out, self.serial);
        out.extend_from_slice(b"\",\"ts\":");
        number(out, self.ts_ms.max(0) as u64);
        out.extend_from_slice(b",\"type\":\"");
        out.extend_from_slice(self.event_type.name().as_bytes());
        out.extend_from_slice(b"\",\"account\":\"");
        names.account(out, self.account);
        if self.target != NONE {
            out.extend_from_slice(b"\",\"target\":\"");
            names.account(out, self.target);
        }
        out.extend_from_slice(b"\",\"entities\":{\"device\":\"");
        names.thing(out, b'd', self.place.device);
        out.extend_from_slice(b"\",\"ip\":\"");
        names.ip(out, self.place.ip);
        out.push(b'"');
        for (kind, letter, index) in [
            ("card", b'c', self.card),
            ("payout", b'b', self.payout),
            ("content", b't', self.content),
            ("phone", b'p', self.phone),
        ] {
            if index != NONE {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(kind.as_bytes());
                out.extend_from_slice(b"\":\"");
                names.thing(out, letter, index);
                out.push(b'"');
            }
        }
        out.extend_from_slice(b"},\"attributes\":{");
        self.write_attributes(out);
        out.extend_from_slice(b"}}");
    }

    fn write_attributes(&self, out: &mut Vec<u8>) {
        text(out, "country", COUNTRIES[usize::from(self.place.country)].code, true);
        text(out, "client", self.place.client(), false);
        text(out, "network", self.place.network.name(), false);
        if self.amount_cents > 0 {
            out.extend_from_slice(b",\"amount\":");
            cents(out, self.amount_cents);
        }
        match self.event_type {
            EventType::Message | EventType::Reply => {
                whole(out, "text_length", self.text_length);
                flag(out, "has_url", self.has_url);
                flag(out, "has_contact", self.has_contact);
            }
            EventType::Review => {
                whole(out, "stars", u32::from(self.stars));
                whole(out, "text_length", self.text_length);
            }
            EventType::Signup | EventType::Login => flag(out, "verified", self.verified),
            EventType::ProfileEdit | EventType::Report => text(out, "field", self.field, false),
            _ => {}
        }
    }
}

fn text(out: &mut Vec<u8>, name: &str, value: &str, first: bool) {
    if !first {
        out.push(b',');
    }
    for part in ["\"", name, "\":\"", value, "\""] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn whole(out: &mut Vec<u8>, name: &str, value: u32) {
    for part in [",\"", name, "\":"] {
        out.extend_from_slice(part.as_bytes());
    }
    number(out, u64::from(value));
}

fn flag(out: &mut Vec<u8>, name: &str, value: bool) {
    for part in [",\"", name, "\":", if value { "true" } else { "false" }] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Who said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LabelSource {
    /// A moderator's verdict.
    Moderator,
    /// Several users' reports, believed.
    Report,
    /// The card holder's bank.
    Chargeback,
    /// An appeal that was granted.
    Appeal,
}

impl LabelSource {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            LabelSource::Moderator => "moderator",
            LabelSource::Report => "report",
            LabelSource::Chargeback => "chargeback",
            LabelSource::Appeal => "appeal",
        }
    }
}

/// What became known, and when.
#[derive(Clone, Copy, Debug)]
pub struct SimLabel {
    pub(super) names: Names,
    /// When it became known, milliseconds since 1970.
    pub ts_ms: i64,
    /// Index of the account it is about.
    pub account: u32,
    /// Whether the wire form names the account; if not, it names the event.
    pub names_account: bool,
    /// The event it is about, if one.
    pub event: Option<SimEventRef>,
    /// Bad (1 on the wire) or cleared (0).
    pub bad: bool,
    /// Who said so.
    pub source: LabelSource,
    /// How sure, in hundredths.
    pub confidence_percent: u8,
}

/// The event that a label speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimEventRef {
    /// Serial number, as in [`SimEvent::serial`].
    pub serial: u64,
    /// When the event happened.
    pub ts_ms: i64,
    pub(super) card: u32,
}

impl SimLabel {
    /// The account's name on the wire.
    pub fn account_id(&self) -> String {
        let mut out = Vec::with_capacity(12);
        self.names.account(&mut out, self.account);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Appends the label as one JSON object without a line end.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        if self.names_account {
            out.extend_from_slice(b"\"account\":\"");
            self.names.account(out, self.account);
            out.extend_from_slice(b"\",");
        }
        if let Some(event) = self.event {
            out.extend_from_slice(b"\"event_id\":\"e-");
            number(out, event.serial);
            out.extend_from_slice(b"\",");
        }
        out.extend_from_slice(b"\"label\":");
        number(out, u64::from(self.bad));
        out.extend_from_slice(b",\"ts\":");
        number(out, self.ts_ms.max(0) as u64);
        out.push(b',');
        text(out, "source", self.source.name(), true);
        out.extend_from_slice(b",\"confidence\":");
        cents(out, u32::from(self.confidence_percent));
        if let Some(event) = self.event
            && event.card != NONE
        {
            out.extend_from_slice(b",\"entities\":{\"card\":\"");
            self.names.thing(out, b'c', event.card);
            out.extend_from_slice(b"\"}");
        }
        out.push(b'}');
    }
}

/// The class of network as address lists tell it.
pub(super) fn network_name(network: Network) -> &'static str {
    match network {
        Network::Fixed => "fixed",
        Network::Mobile => "mobile",
        Network::Hosting => "hosting",
    }
}
