//! The `image-migrator` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    image_migrator::cli::run()
}
