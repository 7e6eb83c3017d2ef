//! The program as its users meet it: run as a process, judged by what it prints and by what registries see and hold.
//!
//! Each module holds one promise. They know the product by its name, its files and its output, and nothing of its code.

mod architecture;
mod cluster;
mod configuration;
mod copy;
mod credentials;
mod economy;
mod faults;
mod interruption;
mod limits;
mod output;
mod real_registries;
mod rewrite;
mod rules;
mod support;
