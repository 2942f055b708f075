//! Normal forms of keys: the spellings of one thing become one key.
//!
//! A form is a matter of the kind (`[kinds.NAME] form`). It is applied to a key once, before anything is looked
//! up, counted or hashed under it; `form(form(key)) == form(key)`.

use icu_normalizer::ComposingNormalizerBorrowed;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::net::IpAddr;

/// Longest normal form, in bytes. A key that would grow beyond it has none.
pub const FORM_BYTES_MAX: usize = 256;

/// How a kind's keys are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyForm {
    /// An IP address in its canonical text (RFC 5952 for version 6); an IPv4 address mapped into IPv6 is the IPv4
    /// address. Blanks around it do not count.
    Ip,
    /// A mail address in lower case. Blanks around it do not count; dots and `+` tags do.
    Email,
    /// Text in lower case (Unicode, independent of any language).
    Lower,
    /// Text in Unicode's normalization form C.
    Nfc,
}

/// A key that has no normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl KeyForm {
    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Email => "email",
            Self::Lower => "lower",
            Self::Nfc => "nfc",
        }
    }

    /// The normal form of a key; borrowed when the key is in it already. Some 50 to 200 ns.
    ///
    /// # Errors
    /// When the key does not parse as what the form is about, or its normal form is longer than
    /// [`FORM_BYTES_MAX`].
    ///
    /// ```
    /// use features::key_form::KeyForm;
    /// assert_eq!(KeyForm::Ip.normal("::ffff:203.0.113.7").unwrap(), "203.0.113.7");
    /// assert_eq!(KeyForm::Email.normal(" Ann@Example.com").unwrap(), "ann@example.com");
    /// assert!(KeyForm::Ip.normal("203.0.113.300").is_err());
    /// ```
    pub fn normal(self, key: &str) -> Result<Cow<'_, str>, Malformed> {
        let normal = match self {
            Self::Ip => same(key, address(key).ok_or(Malformed)?.to_string()),
            Self::Email => same(key, mail(key).ok_or(Malformed)?.to_lowercase()),
            Self::Lower => same(key, key.to_lowercase()),
            Self::Nfc => ComposingNormalizerBorrowed::new_nfc().normalize(key),
        };
        if normal.len() <= FORM_BYTES_MAX { Ok(normal) } else { Err(Malformed) }
    }
}

/// The address that a text spells: of version 4 also where it is mapped into version 6.
pub fn address(text: &str) -> Option<IpAddr> {
    text.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// A mail address without the blanks around it: something, `@`, something without `@`, no blanks.
fn mail(text: &str) -> Option<&str> {
    let text = text.trim();
    let (local, domain) = text.rsplit_once('@')?;
    let whole = !local.is_empty() && !domain.is_empty() && !text.contains(char::is_whitespace);
    whole.then_some(text)
}

fn same(key: &str, normal: String) -> Cow<'_, str> {
    if normal == key { Cow::Borrowed(key) } else { Cow::Owned(normal) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORMS: [KeyForm; 4] = [KeyForm::Ip, KeyForm::Email, KeyForm::Lower, KeyForm::Nfc];

    #[test]
    fn spellings_of_one_thing_become_one_key() {
        use KeyForm::{Email, Ip, Lower, Nfc};
        for (form, key, normal) in [
            (Ip, "203.0.113.7", "203.0.113.7"),
            (Ip, " 203.0.113.7\t", "203.0.113.7"),
            (Ip, "::ffff:203.0.113.7", "203.0.113.7"),
            (Ip, "::FFFF:CB00:7107", "203.0.113.7"),
            (Ip, "0:0:0:0:0:ffff:203.0.113.7", "203.0.113.7"),
            (Ip, "2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
            (Ip, "2001:0db8::0001", "2001:db8::1"),
            (Ip, "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            (Ip, "::", "::"),
            (Ip, "::1", "::1"),
            (Email, "Ann.B+x@Example.COM ", "ann.b+x@example.com"),
            (Email, "ÉVA@example.com", "éva@example.com"),
            (Email, "\"a@b\"@example.com", "\"a@b\"@example.com"),
            (Lower, "DEVICE-9", "device-9"),
            (Lower, "ΟΔΟΣ", "οδος"),
            (Lower, " A ", " a "),
            (Nfc, "e\u{301}", "\u{e9}"),
            (Nfc, "\u{212b}", "\u{c5}"),
            (Nfc, "\u{1100}\u{1161}", "\u{ac00}"),
            (Nfc, "ﬁ", "ﬁ"),
            (Nfc, "A", "A"),
        ] {
            assert_eq!(form.normal(key).as_deref(), Ok(normal), "{form:?} of {key:?}");
        }
    }

    #[test]
    fn what_does_not_parse_has_no_form() {
        let long = "İ".repeat(100);
        for (form, key) in [
            (KeyForm::Ip, "203.0.113.300"),
            (KeyForm::Ip, "203.0.113"),
            (KeyForm::Ip, "203.0.113.07"),
            (KeyForm::Ip, "203.0.113.7:443"),
            (KeyForm::Ip, "203.0.113.0/24"),
            (KeyForm::Ip, "[2001:db8::1]"),
            (KeyForm::Ip, "fe80::1%eth0"),
            (KeyForm::Ip, "unknown"),
            (KeyForm::Ip, ""),
            (KeyForm::Email, "ann"),
            (KeyForm::Email, "@example.com"),
            (KeyForm::Email, "ann@"),
            (KeyForm::Email, "Ann <ann@example.com>"),
            (KeyForm::Email, "  "),
            (KeyForm::Lower, long.as_str()),
        ] {
            assert_eq!(form.normal(key), Err(Malformed), "{form:?} of {key:?}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own(key in ".{0,40}", octets in any::<[u8; 16]>()) {
            let addresses = [IpAddr::from(octets).to_string(), IpAddr::from([octets[0], octets[1], octets[2], octets[3]]).to_string()];
            for form in FORMS {
                for key in addresses.iter().chain([&key, &format!("{key}@{key}")]) {
                    if let Ok(normal) = form.normal(key) {
                        prop_assert!(normal.len() <= FORM_BYTES_MAX);
                        let again = form.normal(&normal);
                        prop_assert_eq!(again.as_deref(), Ok(&*normal), "{:?}", form);
                        prop_assert!(matches!(again, Ok(Cow::Borrowed(_))), "{:?} of {:?}", form, normal);
                    }
                }
            }
        }
    }
}
