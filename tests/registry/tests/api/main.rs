//! The registry, driven by plain HTTP. One binary, a module for each promise.

mod access;
mod client;
mod hooks;
mod pull;
mod push;
mod redirects;
