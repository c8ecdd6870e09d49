//! SQS under faults: a real queue of LocalStack, behind a proxy that counts calls and spoils them.

mod calls;
mod dead_poll;
mod idle_close;
mod partial;
pub(super) mod place;
mod secrets;
mod visibility;
