//! What the tests and benchmarks of the workspace share, so that each fault is made, and counted, in one way.
//!
//! A fault test starts [`actors`] as child processes ([`Process`]), puts a [`relay`], a [`proxy`],
//! [`packets`] or a [`Cable`] between them, does what it is named for, and holds the [`Figures`] of their ledgers against what is promised.

pub mod actors;
pub mod bare;
mod cable;
mod figures;
pub mod http;
pub mod packets;
mod process;
pub mod proxy;
pub mod relay;

pub use cable::{Cable, End};
pub use figures::{Figures, Scale, seed};
pub use process::{Process, Usage, Voice};
