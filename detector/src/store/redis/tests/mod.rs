//! The protocol's parts, the protocol against a model of it, and the twin against a real Redis.

mod checker;
mod cluster;
mod counterexamples;
mod damage;
mod index;
mod lost_replies;
mod parts;
mod process;
mod real;
mod rights;
mod same;
mod server;
mod tls;
mod world;
