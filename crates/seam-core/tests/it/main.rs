//! Integration tests of the contract.

mod envelope;
