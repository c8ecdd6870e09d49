//! The `seam` command, with every transport that was compiled in.

use std::process::ExitCode;

fn main() -> ExitCode {
    seam_cli::run(seam::registry())
}
