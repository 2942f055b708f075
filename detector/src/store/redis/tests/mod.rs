//! The protocol's parts, the protocol against a model of it, and the twin against a real Redis.

mod checker;
mod counterexamples;
mod parts;
mod real;
mod server;
mod world;
