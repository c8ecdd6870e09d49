//! What the tests and benchmarks of the workspace share: child processes, and what they cost.

mod process;

pub use process::{Process, Usage};
