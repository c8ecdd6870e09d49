//! Integration tests of the contract.
