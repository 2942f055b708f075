//! Who is who, and what can happen.

/// What an account really is. Detectors never see it; evaluation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ActorKind {
    /// Nothing special.
    Ordinary,
    /// A household of three and more on one address, often one tablet and one card.
    Family,
    /// Behind a campus address with hundreds of others.
    Student,
    /// Behind a carrier's address with up to tens of thousands of others.
    MobileOnly,
    /// Uses a till's, library's or club's tablet with dozens of others.
    SharedTablet,
    /// Bursts of announcements, and crowds that come at the same minute.
    Creator,
    /// Lists, chats and is paid all day.
    PowerSeller,
    /// Awake at night.
    NightWorker,
    /// Changes address and country, at times device.
    Traveller,
    /// Got a used phone, at times out of a ring's hands.
    SecondHand,
    /// New, honest, and very busy on the first day.
    FastStarter,
    /// Mistypes cards and passwords.
    Clumsy,
    /// There for long; then a spam ring uses its device's key and its text, and is found out.
    JoeJob,
    /// One of several that send copies of a message to strangers.
    SpamRing,
    /// Registered slowly from a pool of devices, asleep, then used together.
    AccountFarm,
    /// Tries stolen cards with small payments.
    CardTester,
    /// An honest account after a thief got in.
    Takeover,
    /// Few victims, long conversations, money at the end.
    RomanceScam,
    /// Praises the same sellers within days.
    ReviewRing,
}

impl ActorKind {
    /// All kinds, honest first.
    pub const ALL: [ActorKind; 19] = [
        ActorKind::Ordinary,
        ActorKind::Family,
        ActorKind::Student,
        ActorKind::MobileOnly,
        ActorKind::SharedTablet,
        ActorKind::Creator,
        ActorKind::PowerSeller,
        ActorKind::NightWorker,
        ActorKind::Traveller,
        ActorKind::SecondHand,
        ActorKind::FastStarter,
        ActorKind::Clumsy,
        ActorKind::JoeJob,
        ActorKind::SpamRing,
        ActorKind::AccountFarm,
        ActorKind::CardTester,
        ActorKind::Takeover,
        ActorKind::RomanceScam,
        ActorKind::ReviewRing,
    ];

    /// The kinds of bad actors, in the order of [`super::BadMix::shares`].
    pub const BAD: [ActorKind; 6] = [
        ActorKind::SpamRing,
        ActorKind::AccountFarm,
        ActorKind::CardTester,
        ActorKind::Takeover,
        ActorKind::RomanceScam,
        ActorKind::ReviewRing,
    ];

    /// Whether it is a bad actor.
    pub fn is_bad(self) -> bool {
        self as u8 >= ActorKind::SpamRing as u8
    }

    /// Its name in the truth file: lower case with underscores.
    pub fn name(self) -> &'static str {
        match self {
            ActorKind::Ordinary => "ordinary",
            ActorKind::Family => "family",
            ActorKind::Student => "student",
            ActorKind::MobileOnly => "mobile_only",
            ActorKind::SharedTablet => "shared_tablet",
            ActorKind::Creator => "creator",
            ActorKind::PowerSeller => "power_seller",
            ActorKind::NightWorker => "night_worker",
            ActorKind::Traveller => "traveller",
            ActorKind::SecondHand => "second_hand",
            ActorKind::FastStarter => "fast_starter",
            ActorKind::Clumsy => "clumsy",
            ActorKind::JoeJob => "joe_job",
            ActorKind::SpamRing => "spam_ring",
            ActorKind::AccountFarm => "account_farm",
            ActorKind::CardTester => "card_tester",
            ActorKind::Takeover => "takeover",
            ActorKind::RomanceScam => "romance_scam",
            ActorKind::ReviewRing => "review_ring",
        }
    }
}

/// What happened: the `type` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EventType {
    /// An account was made.
    Signup,
    /// The right password.
    Login,
    /// The wrong password.
    LoginFailed,
    /// Photo, text, password or e-mail address changed.
    ProfileEdit,
    /// Somebody's profile or listing looked at.
    View,
    /// A message that opens or pushes on a conversation.
    Message,
    /// An answer to a message.
    Reply,
    /// A like.
    Like,
    /// A follow.
    Follow,
    /// The target was reported to the platform.
    Report,
    /// The target was blocked.
    Block,
    /// Something was put up for sale.
    Listing,
    /// A seller was rated.
    Review,
    /// Money for a seller.
    Payment,
    /// The card issuer said no.
    PaymentDeclined,
    /// Another bank account for payouts.
    PayoutEdit,
    /// Money out.
    Withdraw,
}

impl EventType {
    /// All types, in the order of their numbers.
    pub const ALL: [EventType; 17] = [
        EventType::Signup,
        EventType::Login,
        EventType::LoginFailed,
        EventType::ProfileEdit,
        EventType::View,
        EventType::Message,
        EventType::Reply,
        EventType::Like,
        EventType::Follow,
        EventType::Report,
        EventType::Block,
        EventType::Listing,
        EventType::Review,
        EventType::Payment,
        EventType::PaymentDeclined,
        EventType::PayoutEdit,
        EventType::Withdraw,
    ];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            EventType::Signup => "signup",
            EventType::Login => "login",
            EventType::LoginFailed => "login_failed",
            EventType::ProfileEdit => "profile_edit",
            EventType::View => "view",
            EventType::Message => "message",
            EventType::Reply => "reply",
            EventType::Like => "like",
            EventType::Follow => "follow",
            EventType::Report => "report",
            EventType::Block => "block",
            EventType::Listing => "listing",
            EventType::Review => "review",
            EventType::Payment => "payment",
            EventType::PaymentDeclined => "payment_declined",
            EventType::PayoutEdit => "payout_edit",
            EventType::Withdraw => "withdraw",
        }
    }
}
