//! The public suite that every transport of Seam must pass, and the ledger that its tests count with.

mod bench;
pub mod ledger;
mod line;
mod options;
mod report;
mod suite;

pub use ledger::Ledger;
pub use options::{End, Options, Run, Subject};
pub use report::{Report, Verdict};
pub use suite::{assert_holds, behaviours, check, run};
