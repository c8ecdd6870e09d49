//! Seam on RabbitMQ.

#[allow(dead_code, unused_imports, reason = "until the connection is there")]
mod mapping;
