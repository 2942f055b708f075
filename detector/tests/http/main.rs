//! The service's HTTP calls, through real connections, with an engine's thread behind them.

mod calls;
mod doc;
mod explain;
mod limits;
mod metrics;
mod service;
