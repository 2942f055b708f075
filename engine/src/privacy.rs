//! Personal identifiers under a secret.

use crate::wire::hex;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Fewer bytes of a secret could be found by trying: keys such as addresses are few.
pub const SECRET_BYTES_MIN: usize = 16;

/// The stored and published form of an entity key: the first 128 bits of HMAC-SHA-256, in hex.
pub fn pseudonym(secret: &[u8], key: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap_or_else(|_| {
        // Keys of any length are taken by HMAC; this arm is never reached.
        Hmac::<Sha256>::new(&Default::default())
    });
    mac.update(key.as_bytes());
    hex(&mac.finalize().into_bytes()[..16])
}

/// The key of the look-up hash: derived from the secret if there is one, so that nobody can craft keys
/// that collide; fixed otherwise.
pub fn lookup_key(secret: Option<&[u8]>) -> [u8; 16] {
    let digest = match secret {
        Some(secret) => {
            Sha256::new().chain_update(b"detector look-up key").chain_update(secret).finalize()
        }
        None => Sha256::digest(b"detector look-up key, no secret configured"),
    };
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}

/// Names the secret without telling it, so that state made under another one is not gone on with.
pub fn fingerprint(secret: Option<&[u8]>) -> Option<String> {
    secret.map(|secret| pseudonym(secret, "detector fingerprint"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn pseudonyms_depend_on_secret_and_key() {
        let one = super::pseudonym(b"s", "1.2.3.4");
        assert_eq!(one.len(), 32);
        assert_eq!(one, super::pseudonym(b"s", "1.2.3.4"));
        assert_ne!(one, super::pseudonym(b"t", "1.2.3.4"));
        assert_ne!(one, super::pseudonym(b"s", "1.2.3.5"));
        assert_ne!(super::lookup_key(None), super::lookup_key(Some(b"s")));
    }
}
