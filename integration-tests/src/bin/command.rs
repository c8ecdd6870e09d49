//! The command `seam`, with every transport that the tests have: as it is, but built together with them.

use std::process::ExitCode;

fn main() -> ExitCode {
    seam_cli::run(seam::registry())
}
