//! What comes from outside, thrown at what reads it: each target takes any bytes, and holds what is promised of them.
//!
//! More is promised than that nothing panics. What is read means the same when it is written and read again; what is said
//! of an error is one line that a terminal shows as it is, without a secret; nothing takes memory out of proportion.
//!
//! The targets are modules of what they test, so that nothing is public for their sake. They are there in tests and under
//! `--cfg fuzzing`, which cargo-fuzz gives. README.md beside this file says how they are run.

#[cfg(test)]
mod stable;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Each target: its name, which is that of its corpus, its dictionary and its binary for cargo-fuzz.
macro_rules! targets {
    ($($name:ident: $run:path;)*) => {
        $(pub fn $name(data: &[u8]) { $run(data) })*

        #[cfg(test)]
        mod each {
            $(#[test] fn $name() { super::stable::run(stringify!($name), super::$name) })*

            #[test]
            fn every_target_is_run_by_cargo_fuzz_too() {
                super::stable::assert_complete(&[$(stringify!($name)),*]);
            }
        }
    };
}

targets! {
    auth_json: crate::config::fuzz::auth_json;
    challenge: crate::registry::fuzz::challenge;
    cluster: crate::cluster::fuzz::cluster;
    docker_config: crate::config::fuzz::docker_config;
    dockerfile: crate::rewrite::fuzz::dockerfile;
    error_body: crate::registry::fuzz::error_body;
    helper: crate::registry::fuzz::helper;
    images_json: crate::config::fuzz::images_json;
    kubeconfig: crate::cluster::access::fuzz::kubeconfig;
    limits: crate::registry::fuzz::limits;
    link: crate::registry::fuzz::link;
    location: crate::registry::fuzz::location;
    manifest: crate::transfer::fuzz::manifest;
    pem: crate::registry::fuzz::pem;
    prose: crate::rewrite::fuzz::prose;
    reference: crate::config::fuzz::reference;
    report: crate::report::fuzz::report;
    tags: crate::registry::fuzz::tags;
    token: crate::registry::fuzz::token;
    yaml: crate::rewrite::fuzz::yaml;
}

/// Asserts that `text` is one line that changes nothing on a terminal.
#[track_caller]
pub(crate) fn assert_one_line(text: &str) {
    assert!(!text.is_empty(), "nothing is said");
    assert!(!text.contains(crate::foreign::is_obeyed), "{text:?}");
}

/// What comes of work that waits for nothing.
pub(crate) fn now<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}
