//! Integration tests of `channel://`.

mod conformance;
