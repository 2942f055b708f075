//! The state as values under names that others can read: one per account, one per thing, a few global ones. What
//! [`Engine::save_changes`] keeps under ids stands here under the key that the id means, with everything of it in one value.
//!
//! Value of a profile, little-endian: form (1 byte, 1), tag (1 byte, `a` or `e`), id (u32), then parts, each with its length
//! (u32) before it: the record, the policy's record (accounts only), and the line of the link graph that others link to.

use crate::changed::{CHUNK_RECORDS, Changed, Records};
use crate::policy::AccountPolicyState;
use crate::snapshot::{Far, LoadError, Loading, damaged, framed, get, key, put, take_array};
use crate::step::Engine;
use compact_str::{CompactString, format_compact};

/// Version of the values' form.
const FORM: u8 = 1;
/// The kind under which accounts are kept.
pub const ACCOUNT_KIND: &str = "account";
const GLOBALS: &str = "globals";
const CLOCKS: &str = "clocks";
const RECENT: &str = "recent-";

/// What a value is kept under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// An account ([`ACCOUNT_KIND`]) or a thing of a kind, by its key.
    Profile {
        /// Name of the kind.
        kind: CompactString,
        /// The key; an HMAC where `privacy.key` is set and the kind is no account.
        key: CompactString,
    },
    /// What belongs to no key.
    Global(CompactString),
}

/// Takes what is saved under a name; `None`: it is gone.
pub type Save<'a> = dyn FnMut(Name, Option<&[u8]>) + 'a;

impl Engine {
    /// From now on the keys of what is forgotten are remembered until the next [`Engine::save_named`], which must be called from
    /// time to time. Without it nothing is kept.
    pub fn name_forgotten(&mut self) {
        self.accounts.keys.keep_gone();
        self.kinds.iter_mut().flatten().for_each(|kind| kind.keys.keep_gone());
    }

    /// As [`Engine::save_changes`], under names. Call it between steps, and [`Engine::name_forgotten`] before the first step.
    /// O(what changed).
    pub fn save_named(&mut self, save: &mut dyn FnMut(Name, Option<Vec<u8>>)) {
        let mut changed = self.take_changed();
        let save = &mut |name, value: Option<&[u8]>| save(name, value.map(<[u8]>::to_vec));
        self.save_some(&mut changed, usize::MAX, save);
        self.save_globals(save);
    }

    /// Takes up to `most` names off a list of changes, and fewer where they are long to save, and hands over what stands under them now:
    /// what changes later is in a later list, and its newer value is then the one that counts.
    pub fn save_some(&self, changed: &mut Changed, most: usize, save: &mut Save<'_>) {
        let (mut left, mut buffer) = (most, Vec::with_capacity(4096));
        let accounts = Records {
            keys: &self.accounts.keys,
            kind: CompactString::const_new(ACCOUNT_KIND),
            warm: &|ids| self.warm_accounts(ids),
            write: &|id, out| self.named_account(id, out),
        };
        changed.accounts.take(&mut left, &accounts, &mut buffer, save);
        for (number, of_kind) in changed.kinds.iter_mut().enumerate() {
            let Some(kind) = self.kinds[number].as_ref() else { continue };
            let things = Records {
                keys: &kind.keys,
                kind: self.schema.kinds()[number].name.as_str().into(),
                warm: &|ids| self.warm_entities(number, ids),
                write: &|id, out| self.named_entity(number, id, out),
            };
            of_kind.take(&mut left, &things, &mut buffer, save);
        }
        while left > 0
            && let Some(chunk) = changed.recent.pop()
        {
            left = left.saturating_sub(CHUNK_RECORDS);
            let name = Name::Global(format_compact!("{RECENT}{chunk}"));
            save(name, self.recent.chunk(chunk).as_deref());
        }
    }

    /// Hands over what belongs to no key, and is in no list: with the last records of a cut.
    pub fn save_globals(&self, save: &mut Save<'_>) {
        save(Name::Global(CLOCKS.into()), Some(&self.clocks.saved(&self.topics)));
        save(Name::Global(GLOBALS.into()), Some(&self.globals_record()));
    }

    fn named_account(&self, id: u32, out: &mut Vec<u8>) {
        out.extend([FORM, b'a']);
        out.extend(id.to_le_bytes());
        framed(out, |out| self.write_account(id, out));
        let policy = self.deciding.states.get(&self.accounts.keys.hash_of(id));
        put(out, policy.map(AccountPolicyState::to_bytes).as_deref().unwrap_or_default());
        framed(out, |out| {
            self.graph.save_entity(graph::Node::new(0, id), out);
        });
    }

    fn named_entity(&self, kind: usize, id: u32, out: &mut Vec<u8>) {
        out.extend([FORM, b'e']);
        out.extend(id.to_le_bytes());
        framed(out, |out| {
            self.write_entity(kind, id, out);
        });
        put(out, &[]);
        framed(out, |out| {
            self.graph.save_entity(self.nodes.node(kind as u8, id), out);
        });
    }
}

impl Loading<'_> {
    /// Takes one value of [`Engine::save_named`].
    ///
    /// # Errors
    /// When it is damaged, of another form, or of a kind that is not declared.
    pub fn named(&mut self, name: &Name, value: &[u8]) -> Result<(), LoadError> {
        let (kind, what) = match name {
            Name::Global(global) if global == GLOBALS => {
                return self.record(&key(b'g', 0, 0), value);
            }
            Name::Global(global) if global == CLOCKS => {
                return self.record(&key(b'c', 0, 0), value);
            }
            Name::Global(global) => {
                let chunk = global.strip_prefix(RECENT).and_then(|n| n.parse().ok());
                let chunk = chunk.ok_or_else(|| damaged("the store", "its name has no meaning"))?;
                return self.record(&key(b'r', 0, chunk), value);
            }
            Name::Profile { kind, .. } if kind == ACCOUNT_KIND => (None, "an account"),
            Name::Profile { kind, .. } => {
                let known = self.engine.schema.kinds().iter().position(|k| k.name == kind.as_str());
                let number =
                    known.ok_or_else(|| damaged("an entity", "its kind is not declared"))?;
                (Some(number as u8), "an entity")
            }
        };
        let bad = || damaged(what, "it does not fit");
        let mut rest = value;
        let [form, _] = take_array(&mut rest).ok_or_else(bad)?;
        if form != FORM {
            return Err(damaged(what, format!("form {form}, this version reads {FORM}")));
        }
        let id = u32::from_le_bytes(take_array(&mut rest).ok_or_else(bad)?);
        if !self.has_room(kind, id)? {
            self.far.push(Far::Named(name.clone(), value.to_vec()));
            return Ok(());
        }
        let mut part = || get(&mut rest).ok_or_else(bad);
        let (record, policy, line) = (part()?, part()?, part()?);
        let node = match kind {
            None => {
                self.record(&key(b'a', 0, id.into()), record)?;
                if !policy.is_empty() {
                    let hash = self.engine.accounts.keys.hash_of(id);
                    self.record(&key(b'p', 0, hash), policy)?;
                }
                graph::Node::new(0, id)
            }
            Some(number) => {
                self.record(&key(b'e', number, id.into()), record)?;
                self.engine.nodes.node(number, id)
            }
        };
        if !line.is_empty() {
            self.record(&key(b'l', 0, node.to_bits().into()), line)?;
        }
        Ok(())
    }
}
