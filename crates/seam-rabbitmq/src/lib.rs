//! Seam on RabbitMQ.
