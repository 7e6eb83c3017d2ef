//! Moves container images from one Docker Registry v2 / OCI registry to another.
//!
//! Data flows one way:
//!
//! ```text
//! auth.json ─┐                                              ┌─> stdout: phases, summary
//! images.json┴> config ──> plan ──> transfer ──> events ────┼─> stderr: failures, totals
//!               rules      tasks    registry clients        └─> log file, reports
//! ```
//!
//! | module | holds |
//! | --- | --- |
//! | `reference`, [`digest`], `platform` | the names of things: registry, repository, tag, digest, platform |
//! | `config` | files, flags and environment as checked values |
//! | `registry` | a client of one Registry v2 endpoint; knows nothing of migrations |
//! | `plan` | rules and tag lists to tasks: one task is one image |
//! | `transfer` | the engine: moves images within its limits; knows no files, flags or terminals |
//! | `survey` | looking at many images side by side |
//! | `verify` | how the destinations compare with what they should be |
//! | `rounds` | tasks are generated and worked on, in rounds |
//! | `event` | what can happen, as plain data |
//! | `shared` | a value that is made once for all who wait for it |
//! | `report` | events to output, failures, totals, log, and files that tell of each image |
//! | `schema` | the words that reports are written with |
//! | `rewrite` | references in manifests, charts, compose files to where the rules bring the images |
//! | `file` | files that are replaced whole |
//! | `foreign` | what is shown of text that others wrote |
//! | `causes` | what is behind an error |
//! | `cluster` | images.json from the workloads of a Kubernetes cluster |
//! | [`cli`], `logging` | the command line |
//!
//! Private as a rule, so that the compiler tells what is not used. [`record`] is the schema of reports;
//! [`guide`] is for operators: registries one by one, tuning, messages, the check-list after a migration.

// Nothing from outside may end in a panic, and printing is the report's business.
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![cfg_attr(any(test, fuzzing), allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod causes;
pub mod cli;
mod cluster;
mod config;
pub mod digest;
mod event;
#[doc = include_str!("../examples/guide.md")]
pub mod guide {}
mod file;
mod foreign;
// Only for tests and cargo-fuzz.
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzz/fuzz.rs"]
pub mod fuzz;
mod logging;
mod plan;
mod platform;
mod reference;
mod registry;
mod report;
mod rewrite;
mod rounds;
mod schema;
mod shared;
mod survey;
mod transfer;
mod verify;

// The schema of reports, for who reads them.
pub use report::record;
// For the benchmark.
pub use transfer::Limits;
