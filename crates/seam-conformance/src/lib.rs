//! The public suite that every transport of Seam must pass, and the ledger that its tests count with.

pub mod ledger;

pub use ledger::Ledger;
