//! Settings: turns files, flags and the environment into checked values.
//!
//! After it nothing is a text that could be wrong. It reads files and the environment it is handed; it knows no
//! network and no command line. Whatever is wrong with a file as a whole is a [`ConfigError`]; a rule that
//! cannot be used is an [`InvalidRule`] beside the others, which run.

pub mod auth;
pub mod expand;
pub mod images;
pub mod json;
pub mod name;
pub mod place;
pub mod rule;
