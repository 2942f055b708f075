//! Profiles of an older feature set under a new one: fields that mean the same keep their bytes, new ones begin empty.

use crate::changed::{Changed, Keys};
use crate::step::Engine;
use features::layout::{Field, Role};
use features::schema::RoleTable;
use std::collections::BTreeMap;

/// What to do with the bytes of older profiles.
#[derive(Debug)]
pub struct Carry {
    /// By role; `None` for one that the old feature set did not have.
    roles: Vec<Option<Moves>>,
    begins_empty: Vec<String>,
    dropped: Vec<String>,
}

/// How the bytes of one role's profiles move.
#[derive(Debug)]
struct Moves {
    size: usize,
    /// From, to, how many.
    runs: Vec<(usize, usize, usize)>,
}

impl Carry {
    /// From the field tables of the old feature set, by role.
    ///
    /// # Errors
    /// When a table does not fit itself.
    fn new(engine: &Engine, old: &BTreeMap<String, RoleTable>) -> Result<Self, String> {
        let mut carry = Self { roles: Vec::new(), begins_empty: Vec::new(), dropped: Vec::new() };
        for layout in engine.schema.layouts() {
            let role = layout.role_name();
            let before = old.get(role);
            let known: BTreeMap<&str, &Field> = before
                .iter()
                .flat_map(|table| table.fields.iter().map(|f| (f.name.as_str(), f)))
                .collect();
            let mut runs = Vec::new();
            for field in layout.fields() {
                let same = |f: &&&Field| {
                    (f.kind, f.count, &f.means) == (field.kind, field.count, &field.means)
                };
                let Some(from) = known.get(field.name.as_str()).filter(same) else {
                    carry.begins_empty.push(format!("{role}.{}", field.name));
                    continue;
                };
                let bytes = field.kind.size() * field.count;
                if before.is_none_or(|table| from.offset + bytes > table.size) {
                    return Err(format!("its field {role}.{} lies outside of it", field.name));
                }
                runs.push((from.offset, field.offset, bytes));
            }
            for name in known.keys() {
                if !layout.fields().iter().any(|f| f.name == *name) {
                    carry.dropped.push(format!("{role}.{name}"));
                }
            }
            carry.roles.push(before.map(|table| Moves { size: table.size, runs }));
        }
        Ok(carry)
    }

    /// Fields that begin empty, as role and name.
    pub fn begins_empty(&self) -> &[String] {
        &self.begins_empty
    }

    /// Fields that are left behind.
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// Fills a profile from an older one. `None`: that is not of the old layout.
    pub(crate) fn fill(&self, role: Role, old: &[u8], new: &mut [u8]) -> Option<()> {
        new.fill(0);
        let Some(moves) = self.roles.get(usize::from(role.0))? else {
            return old.is_empty().then_some(());
        };
        if old.len() != moves.size {
            return None;
        }
        for &(from, to, bytes) in &moves.runs {
            new.get_mut(to..to + bytes)?.copy_from_slice(old.get(from..from + bytes)?);
        }
        Some(())
    }
}

impl Engine {
    /// How to take over the profiles of an older feature set.
    ///
    /// # Errors
    /// When more than profiles differs: `kinds` are the old ones in their order (true: their keys are accounts), `links` is the
    /// old [`Engine::links_version`].
    pub fn carry(
        &self,
        profiles: &BTreeMap<String, RoleTable>,
        kinds: &[(String, bool)],
        links: &str,
    ) -> Result<Carry, String> {
        let mine = self.schema.kinds().iter().map(|k| (k.name.to_string(), k.is_account));
        if !mine.eq(kinds.iter().cloned()) {
            return Err("it has other kinds, and links know them by number".into());
        }
        if links != self.links_version() {
            return Err("it was made with another [graph], [kinds] or time.account_ttl, and links depend on them".into());
        }
        Carry::new(self, profiles)
    }

    /// Names what links depend on, beside the stream.
    pub fn links_version(&self) -> String {
        use sha2::{Digest, Sha256};
        let config = &self.config;
        let text = format!("{:?} {:?} {}", config.graph, config.kinds, config.time.account_ttl);
        let mut hex = crate::wire::hex(&Sha256::digest(text));
        hex.truncate(16);
        hex
    }

    /// After loading with a [`Carry`]: everything is to be saved in its new form, and with new fields the warm-up of the policy
    /// begins anew.
    pub fn carried_over(&mut self, carry: &Carry) {
        let live = |keys: &crate::intern::Interner| Keys {
            ids: (0..keys.bound()).filter(|id| keys.is_live(*id)).collect(),
            gone: Vec::new(),
        };
        let mut all = Changed {
            accounts: live(&self.accounts.keys),
            kinds: Vec::new(),
            recent: self.recent.chunks(),
        };
        for kind in &self.kinds {
            all.kinds.push(kind.as_ref().map_or_else(Keys::default, |kind| live(&kind.keys)));
        }
        self.still_changed(all);
        if !carry.begins_empty.is_empty() && self.first_ms.is_some() {
            self.first_ms = Some(self.clocks.now_ms());
        }
    }
}
