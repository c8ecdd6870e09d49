//! The rules of a session, one by one.
