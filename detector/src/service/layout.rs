//! The shape of profiles, for others who read them in Redis, and for a later version of the configuration. Published at every start
//! under the hash of the feature set.

use engine::{ACCOUNT_KIND, Carry, Engine};
use features::schema::RoleTable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of this form.
const FORM: u32 = 1;

/// How to read the values of one configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// Version of the form.
    pub form: u32,
    /// Hash of the feature set.
    pub features: String,
    /// The parts of a record, by kind, in their order: name, and what it is. `u8`, `i64`, `u64`: a number; `bytes`: a length (u32)
    /// and so many bytes; `profile`: the same, and the bytes are the profile of this name.
    pub kinds: BTreeMap<String, Vec<(String, String)>>,
    /// The names of all kinds, in the order in which ids know them; true for those whose keys are accounts.
    pub order: Vec<(String, bool)>,
    /// What links were made with, beside the stream: state is carried over to another feature set only where this is the same.
    pub links: String,
    /// The fields of profiles, by name.
    pub profiles: BTreeMap<String, RoleTable>,
}

impl Layout {
    /// Of an engine's configuration.
    pub fn of(engine: &Engine) -> Self {
        let part = |name: &str, what: &str| (name.to_owned(), what.to_owned());
        let key = || vec![part("hash", "u64"), part("key", "bytes")];
        let schema = engine.schema();
        let mut kinds = BTreeMap::new();
        let mut account = key();
        account.extend([
            part("verdict", "u8"),
            part("verdict_ms", "i64"),
            part("account", "profile"),
            part("target", "profile"),
            part("links", "bytes"),
        ]);
        kinds.insert(ACCOUNT_KIND.to_owned(), account);
        for kind in schema.kinds().iter().filter(|kind| !kind.is_account) {
            let mut parts = key();
            parts.push(part(&kind.name, "profile"));
            kinds.insert(kind.name.to_string(), parts);
        }
        Self {
            form: FORM,
            features: engine.versions().features.clone(),
            kinds,
            order: schema.kinds().iter().map(|k| (k.name.to_string(), k.is_account)).collect(),
            links: engine.links_version(),
            profiles: schema.tables().into_iter().map(|t| (t.role.clone(), t)).collect(),
        }
    }

    /// How an engine can take over a state of this layout, published as `json`.
    ///
    /// # Errors
    /// When it cannot.
    pub fn carry(json: &str, engine: &Engine) -> Result<Carry, String> {
        let old: Self = serde_json::from_str(json)
            .map_err(|e| format!("its published layout cannot be read: {e}"))?;
        if old.form != FORM {
            return Err(format!("its layout has form {}, this version reads {FORM}", old.form));
        }
        engine.carry(&old.profiles, &old.order, &old.links)
    }

    /// As it is published.
    pub fn to_json(&self) -> String {
        // Serialising to memory does not fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}
