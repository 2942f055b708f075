//! How good a model is on a stream: replay, measures, tables, comparison, and the golden scenarios.
//!
//! * [`collect`] replays a stream and keeps, per event, what is measured.
//! * [`measure`] turns that into a [`measure::Report`]; [`slices`], [`delays`] and [`intervals`] are its parts.
//! * [`report`] prints it, [`html`] draws it, [`compare`] puts two models side by side.
//! * [`golden`] runs the scenarios that a model must pass.

mod charts;
pub mod collect;
pub mod compare;
pub mod delays;
pub mod golden;
pub mod html;
pub mod intervals;
pub mod measure;
pub mod report;
pub mod slices;
mod svg;

#[cfg(test)]
mod tests;
