//! Kafka under faults: on a cluster of pretence inside librdkafka, which needs no broker, and on a real one that
//! is these tests' own to kill.

mod broker_down;
mod close_down;
pub(super) mod cluster;
mod failover;
mod look;
mod ooo_ack;
mod pretence;
mod queue_full;
mod rebalance_storm;
mod restart;
mod secrets;
mod slow_handler;
