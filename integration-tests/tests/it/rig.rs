//! The rig does what it says: else a fault test could pass because nothing happened.

mod actors;
mod cable;
mod figures;
mod process;
mod proxy;
mod relay;

use std::time::Duration;

use integration_tests::Process;
use integration_tests::actors::Role;
use tokio::process::Command;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program `actor`, playing `role`.
fn actor(role: &Role) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_actor"));
    command.arg(serde_json::to_string(role).unwrap());
    Process::spawn(command).unwrap()
}
