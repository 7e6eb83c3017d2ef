pub mod config;
pub mod digest;
pub mod event;
pub mod reference;
pub mod registry;
