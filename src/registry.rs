//! A client of one Registry v2 endpoint.

mod credentials;

pub use credentials::{Keyring, Login};
