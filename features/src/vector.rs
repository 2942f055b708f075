//! The fixed order of the feature vector.

use crate::config::AttributeKind;
use crate::event::KindId;
use crate::layout::Role;
use crate::schema::Schema;
use std::ops::Range;

/// Which thing of the event a part of the vector is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The event itself: filled by [`Schema::event_columns`].
    Event,
    /// The acting account.
    Acting,
    /// The other account named under this index of [`Schema::account_roles`].
    Other(usize),
    /// The entity of this kind.
    Entity(KindId),
}

/// One part of the vector: a run of columns that are read from one profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What its columns' names begin with: `account`, `received`, `target.account`, `device` …
    pub prefix: String,
    /// What it is about. Without such a thing in the event its columns are NaN ([`Layout::absent`](crate::layout::Layout::absent)).
    pub source: Source,
    /// Which of the thing's profiles; [`Role::ACCOUNT`] for the event's own part, where it has no meaning.
    pub role: Role,
    /// Whether the event is this profile's own (read with [`Layout::extract`](crate::layout::Layout::extract), and then observed), or
    /// somebody else's ([`Layout::look`](crate::layout::Layout::look)).
    pub own: bool,
    /// First column.
    pub offset: usize,
    /// Number of columns.
    pub width: usize,
}

impl Part {
    /// The part's columns in the vector.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.width
    }
}

/// The order of the vector: the event; the acting account; what was done to it; for each account role the other account and what was
/// done to it; each kind of entity. Columns of the graph come after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorPlan {
    parts: Vec<Part>,
    names: Vec<String>,
}

impl VectorPlan {
    /// The plan of a schema.
    pub fn new(schema: &Schema) -> VectorPlan {
        let mut plan = VectorPlan { parts: Vec::new(), names: Vec::new() };
        let event = schema.event_names();
        plan.parts.push(Part {
            prefix: "event".into(),
            source: Source::Event,
            role: Role::ACCOUNT,
            own: true,
            offset: 0,
            width: event.len(),
        });
        plan.names = event;
        plan.push(schema, "account".into(), Source::Acting, Role::ACCOUNT, true);
        plan.push(schema, "received".into(), Source::Acting, Role::TARGET, false);
        for (i, role) in schema.account_roles().iter().enumerate() {
            plan.push(
                schema,
                format!("{}.account", role.name),
                Source::Other(i),
                Role::ACCOUNT,
                false,
            );
            plan.push(
                schema,
                format!("{}.received", role.name),
                Source::Other(i),
                Role::TARGET,
                true,
            );
        }
        for (i, kind) in schema.kinds().iter().enumerate().filter(|(_, k)| !k.is_account) {
            plan.push(schema, kind.name.clone(), Source::Entity(KindId(i as u8)), kind.role, true);
        }
        plan
    }

    fn push(&mut self, schema: &Schema, prefix: String, source: Source, role: Role, own: bool) {
        let Some(layout) = schema.layout(role) else { return };
        let offset = self.names.len();
        self.names.extend(layout.names(&prefix));
        self.parts.push(Part { prefix, source, role, own, offset, width: layout.width() });
    }

    /// The parts, in order of their columns, without gaps.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Names of all columns, in order. Unique.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.names.len()
    }

    /// The declared texts of a categorical column, each at the number that stands for it; any other text is their
    /// count. None: the column is a number.
    pub fn values<'a>(&self, schema: &'a Schema, column: &str) -> Option<&'a [String]> {
        if let Some(name) = column.strip_prefix("event.") {
            let attribute =
                schema.attributes().get(schema.attribute_slot(name).unwrap_or(usize::MAX));
            return match attribute {
                Some(attribute) if attribute.kind == AttributeKind::Category => {
                    Some(&attribute.values)
                }
                Some(_) => None,
                None => (name == "type").then(|| schema.types()),
            };
        }
        let prefix = column.strip_suffix(".last_type")?;
        self.parts.iter().any(|part| part.prefix == prefix).then(|| schema.types())
    }

    /// The part about a thing, in one of its roles.
    pub fn part(&self, source: Source, role: Role) -> Option<&Part> {
        self.parts.iter().find(|p| p.source == source && p.role == role)
    }
}
