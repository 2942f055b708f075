//! Where from: countries, networks, addresses, and the rhythm of the day.

use super::chance::{Chance, mix2};
use super::{DAY_MS, HOUR_MS};

/// A country: its code, hours ahead of UTC, and share of the accounts.
pub(super) struct Country {
    pub(super) code: &'static str,
    utc_h: i64,
    weight: f64,
}

/// The platform's countries.
pub(super) const COUNTRIES: [Country; 10] = [
    Country { code: "NL", utc_h: 1, weight: 0.14 },
    Country { code: "DE", utc_h: 1, weight: 0.17 },
    Country { code: "GB", utc_h: 0, weight: 0.15 },
    Country { code: "FR", utc_h: 1, weight: 0.1 },
    Country { code: "US", utc_h: -5, weight: 0.2 },
    Country { code: "BR", utc_h: -3, weight: 0.08 },
    Country { code: "IN", utc_h: 5, weight: 0.07 },
    Country { code: "NG", utc_h: 1, weight: 0.03 },
    Country { code: "PH", utc_h: 8, weight: 0.03 },
    Country { code: "PL", utc_h: 1, weight: 0.03 },
];

/// How busy each local hour is; the busiest is 1.
const HOURS: [f64; 24] = [
    0.3, 0.18, 0.1, 0.07, 0.07, 0.11, 0.25, 0.45, 0.55, 0.55, 0.55, 0.6, 0.7, 0.65, 0.6, 0.6, 0.65,
    0.75, 0.85, 0.95, 1.0, 1.0, 0.8, 0.52,
];
/// Mean of `HOURS`, times that of the week.
const HOURS_MEAN: f64 = 0.535 * 0.857;

/// The class of network as address lists tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    Fixed,
    Mobile,
    Hosting,
}

impl Network {
    pub(super) fn name(self) -> &'static str {
        super::event::network_name(self)
    }
}

/// What an event goes through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) device: u32,
    pub(super) ip: u32,
    pub(super) country: u8,
    pub(super) network: Network,
}

impl Place {
    /// The program on the device: the same for as long as the device lives.
    pub(super) fn client(self) -> &'static str {
        const CLIENTS: [&str; 8] = [
            "ios-18.1",
            "ios-18.3",
            "ios-17.6",
            "android-14",
            "android-15",
            "android-13",
            "web-3.4",
            "web-3.5",
        ];
        CLIENTS[(mix2(0x0043_4C49, u64::from(self.device)) & 7) as usize]
    }
}

/// Which addresses exist.
pub(super) struct Map {
    /// Households per country.
    pub(super) homes: [u32; COUNTRIES.len()],
    /// Accounts per country.
    pub(super) people: [u32; COUNTRIES.len()],
}

fn address(class: u32, country: u8, number: u32) -> u32 {
    ((class * COUNTRIES.len() as u32 + u32::from(country)) << 24) | (number & 0x00FF_FFFF)
}

impl Map {
    pub(super) fn country(chance: &mut Chance) -> u8 {
        chance.weighted(&COUNTRIES.map(|country| country.weight)) as u8
    }

    /// A household's address. Leases last three weeks, and addresses pass on to other households.
    pub(super) fn home(&self, country: u8, household: u32, ts_ms: i64) -> (u32, Network) {
        let lease = (ts_ms / DAY_MS + i64::from(household % 21)) / 21;
        let slots = u64::from(self.homes[usize::from(country)]) * 2 + 8;
        let slot = mix2(u64::from(household), lease as u64) % slots;
        (address(0, country, slot as u32), Network::Fixed)
    }

    /// Some household's address: what a residential proxy offers.
    pub(super) fn any_home(&self, country: u8, chance: &mut Chance) -> (u32, Network) {
        let slots = self.homes[usize::from(country)] * 2 + 8;
        (address(0, country, chance.below(slots)), Network::Fixed)
    }

    /// One of a carrier's few addresses: about 20,000 accounts per address, once there are so many.
    pub(super) fn carrier(&self, country: u8, carrier: u8, chance: &mut Chance) -> (u32, Network) {
        let pool = 1 + self.people[usize::from(country)] / 60_000;
        let number = u32::from(carrier) * 65_536 + chance.below(pool);
        (address(1, country, number), Network::Mobile)
    }

    pub(super) fn campus(&self, country: u8, campus: u16, chance: &mut Chance) -> (u32, Network) {
        (address(2, country, u32::from(campus) * 4 + chance.below(2)), Network::Fixed)
    }

    /// A café, hotel or office: some 40 accounts each.
    pub(super) fn public(&self, country: u8, chance: &mut Chance) -> (u32, Network) {
        let pool = 1 + self.people[usize::from(country)] / 40;
        (address(3, country, chance.below(pool)), Network::Fixed)
    }

    /// An exit of a VPN or a rented server; honest people use them too.
    pub(super) fn hosting(&self, country: u8, chance: &mut Chance) -> (u32, Network) {
        let pool = 2 + self.people[usize::from(country)] / 120;
        (address(4, country, chance.below(pool)), Network::Hosting)
    }
}

/// The next moment at which somebody with this many sessions a day in this country begins one: a
/// Poisson process that follows the local day and the weekend, by thinning (Lewis and Shedler, 1979).
/// `shift_h` moves the day for those who live at night.
pub(super) fn next_session(
    chance: &mut Chance,
    now_ms: i64,
    sessions_per_day: f64,
    country: u8,
    shift_h: i64,
) -> i64 {
    let mean_ms = DAY_MS as f64 * HOURS_MEAN / sessions_per_day.max(1e-4);
    let mut t = now_ms;
    // Bounded: after this many refusals the moment is taken as it is.
    for _ in 0..200 {
        t += chance.waiting(mean_ms) as i64 + 1;
        let local = t + (COUNTRIES[usize::from(country)].utc_h + shift_h) * HOUR_MS;
        let hour = local.rem_euclid(DAY_MS) / HOUR_MS;
        // 1970-01-01 was a Thursday: 2 and 3 are the weekend.
        let weekend = matches!((local.div_euclid(DAY_MS)).rem_euclid(7), 2 | 3);
        if chance.yes(HOURS[hour as usize] * if weekend { 1.0 } else { 0.8 }) {
            break;
        }
    }
    t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_come_at_the_asked_rate_and_mostly_by_day() {
        let mut chance = Chance::new(5);
        let (mut t, mut n, mut night) = (0, 0, 0);
        while t < 400 * DAY_MS {
            t = next_session(&mut chance, t, 3.0, 2, 0);
            n += 1;
            night += i64::from((t.rem_euclid(DAY_MS) / HOUR_MS) < 6);
        }
        assert!((f64::from(n) / 1200.0 - 1.0).abs() < 0.1, "{n} sessions in 400 days");
        assert!(night * 12 < i64::from(n) * 2, "{night} of {n} at night");
    }

    #[test]
    fn leases_end_and_addresses_are_distinct_by_class() {
        let map = Map { homes: [50; 10], people: [200; 10] };
        let first = map.home(1, 3, 0).0;
        assert_ne!(first, map.home(1, 3, 90 * DAY_MS).0);
        let mut chance = Chance::new(1);
        assert_ne!(first >> 24, map.carrier(1, 0, &mut chance).0 >> 24);
        assert_ne!(first >> 24, map.home(2, 3, 0).0 >> 24);
    }
}
