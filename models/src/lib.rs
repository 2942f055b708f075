//! Numbers to scores. Pure: bytes and rows in, scores and reasons out.
//!
//! * [`forest`] reads boosted trees that XGBoost or LightGBM wrote, and scores them bit for bit as the library does.
//! * [`kernel`] is the fast form of the same sum, chosen when the model is loaded.
//! * [`attribution`] says which columns moved a margin (exact TreeSHAP).
//! * [`logistic`] is the small model over graph columns; [`calibration`] turns margins into probabilities and joins the two.
//! * [`bundle`] is the model directory: parsed, checked, bound to the engine's columns, and written.
//!
//! Nothing here knows what an account is.

pub mod attribution;
pub mod bundle;
pub mod calibration;
pub mod forest;
pub mod kernel;
pub mod limits;
pub mod logistic;

pub use attribution::{Contributions, Explainer};
pub use bundle::{Bundle, BundleError, Explanation, Scorer, Scores};
pub use calibration::{Calibration, Stacking};
pub use forest::{Forest, ForestError};
pub use kernel::{Kernel, ShapeError};
pub use logistic::LogisticModel;
