//! The program as its users meet it: run as a process, judged by what it prints and by what registries see and hold.
//!
//! Each module holds one promise. They know the product by its name, its files and its output, and nothing of its code.

mod architecture;
mod certificates;
mod cluster;
mod completions;
mod configuration;
mod convert;
mod copy;
mod credentials;
mod dialects;
mod dry_run;
mod economy;
mod failed;
mod fault_matrix;
mod faults;
mod guide;
mod hostile;
mod idle_workers;
mod interruption;
mod kills;
mod limits;
mod output;
mod plain_http;
mod proofs;
mod proxies;
mod pull_dialects;
mod push_dialects;
mod rates;
mod real_registries;
mod referrers;
mod report;
mod rewrite;
mod rules;
mod schedules;
mod scopes;
mod secrets;
mod shard;
mod soak;
mod storage;
mod stores;
mod support;
mod trust;
mod verify;
