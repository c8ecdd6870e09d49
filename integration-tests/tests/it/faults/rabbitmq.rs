//! RabbitMQ under faults, on a real broker that is these tests' own to kill.

mod broker;
mod freeze;
mod kill9;
mod probe;
mod unroutable;
