//! What can go wrong between rows and a bundle.

/// Why a model could not be trained. Messages say what was found, where, and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A vector of the table has the wrong length.
    #[error(
        "table.{what} has {found} values, {expected} expected; every row needs one value per column, one time, account, label and weight"
    )]
    Shape {
        /// Which vector.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length that the other vectors ask for.
        expected: usize,
    },
    /// Rows are not in event-time order.
    #[error(
        "row {row} has ts {ts_ms}, earlier than {before_ms} before it; sort the table by ts before training"
    )]
    Unsorted {
        /// The row that is too early.
        row: usize,
        /// Time of the row before it.
        before_ms: i64,
        /// Its own time.
        ts_ms: i64,
    },
    /// Two columns have one name.
    #[error("column {name:?} stands twice in the table; give every feature its own name")]
    DuplicateColumn {
        /// The name.
        name: String,
    },
    /// A weight that is negative or not a number.
    #[error("row {row} has weight {weight}; weights must be finite and not negative")]
    Weight {
        /// The row.
        row: usize,
        /// Its weight.
        weight: f32,
    },
    /// The table has no columns at all.
    #[error("the table has no feature columns; declare at least one feature")]
    NoColumns,
    /// Every column is constant.
    #[error(
        "all {columns} columns are constant over the {rows} labelled rows; look at the mapping: are the events' fields read at all?"
    )]
    NothingVaries {
        /// Columns looked at.
        columns: usize,
        /// Rows looked at.
        rows: usize,
    },
    /// Too few rows with a known label.
    #[error(
        "{found} labelled rows, at least {needed} needed; train on a longer period, or train without labels"
    )]
    TooFewRows {
        /// Labelled rows found.
        found: usize,
        /// The least that is accepted.
        needed: usize,
    },
    /// Too few rows of the one or the other class.
    #[error(
        "{positives} bad and {negatives} good rows, at least {needed} of each needed; check that labels join their events (`event_id`, or account and ts), or train without labels"
    )]
    OneClass {
        /// Rows labelled bad.
        positives: usize,
        /// Rows labelled good.
        negatives: usize,
        /// The least that is accepted of each.
        needed: usize,
    },
    /// A setting out of its range.
    #[error("option {name} is {value}; {rule}")]
    Option {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it has to be.
        rule: &'static str,
    },
    /// The boosting library refused or failed.
    #[error("boosting failed: {0}")]
    Boost(#[from] hessboost::error::HessboostError),
    /// A linfa algorithm failed.
    #[error("learning failed: {0}")]
    Linfa(#[from] linfa::Error),
    /// The trained forest could not be read back for scoring.
    #[error("the trained forest cannot be read by the scorer: {0}")]
    Forest(String),
    /// The parts do not make a valid bundle.
    #[error("the trained parts do not make a valid bundle: {0}")]
    Bundle(String),
    /// The caller stopped the training.
    #[error("training was stopped by the caller")]
    Stopped,
}
