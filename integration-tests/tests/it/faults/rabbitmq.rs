//! RabbitMQ under faults, on a real broker that is these tests' own to kill.

mod alarm;
pub(super) mod broker;
mod bystanders;
mod cancel;
mod consumer_killed;
mod freeze;
mod kill9;
mod poison;
mod prefetch;
mod probe;
mod restart;
mod secrets;
mod unroutable;
