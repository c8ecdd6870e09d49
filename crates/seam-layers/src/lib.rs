//! Layers over any transport of Seam: workers, retry policies, dead letters, bridges.
//!
//! A layer holds [`seam_core`]'s user types and nothing below them, so it runs on every transport. It takes
//! time from the endpoint's clock and spawns nothing: each worker is one future, for the program to spawn or
//! await on whatever runtime it has.
//!
//! - [`lanes`]: a pool of workers over one [`Receiver`](seam_core::Receiver). One datagram of a key at a
//!   time, many keys at once, in order per key across retries.
//! - [`RetryPolicy`] and [`Exponential`]: what becomes of a failed attempt.
//! - [`DeadLetter`]: gives deliveries up to any endpoint, for handlers whose URI has no `?dead_letter=`.
//! - [`bridge`]: carries datagrams from any endpoint to any other, and acknowledges what has its receipt there.
//!
//! ```
//! use std::time::Duration;
//! use seam_core::{Datagram, Memory, Registry, Verdict, VirtualClock};
//! use seam_layers::{DeadLetter, Exponential, Job, lanes};
//!
//! let clock = VirtualClock::new(); // `seam::registry()` brings a real one
//! # clock.clone().block_on(async {
//! let registry = Registry::new().with(Memory::new()).with_clock(clock);
//! let server = registry.server("memory://orders").await?;
//! let receiver = server.receiver().await?;
//! let mut parked = registry.receiver("memory://parked").await?;
//! let sender = registry.sender("memory://orders").await?;
//! sender.send(Datagram::new("12 apples").with_key("customer-7")).await?;
//! sender.send(Datagram::new("no apples").with_key("customer-8")).await?;
//!
//! let policy = Exponential::new(Duration::from_millis(200)).with_limit(5);
//! let letters = DeadLetter::new(registry.sender("memory://parked").await?, receiver.endpoint());
//! let worker = lanes(16).with_retry(policy).with_dead_letter(letters).run(receiver, |job: Job| async move {
//!     match job.payload() {
//!         Some(b"12 apples") => Ok(()),
//!         _ => Err("this is no order"),
//!     }
//! });
//! let drained = async {
//!     let letter = parked.next().await?.expect("the fifth attempt was the last");
//!     assert_eq!(letter.datagram().payload(), Some(&b"no apples"[..]));
//!     letter.ack()?;
//!     server.drain(Duration::from_secs(10)).await
//! };
//! let (summary, drained) = futures_util::future::join(worker, drained).await;
//! let summary = summary?;
//! assert_eq!((summary.handled, summary.acked, summary.dead_lettered), (6, 1, 1));
//! assert!(drained?.is_clean());
//! # Ok::<(), seam_core::Error>(()) }).unwrap();
//! ```

mod attempt;
mod bridge;
mod dead_letter;
mod job;
mod lanes;
mod outcome;
mod retry;
mod stop;
mod worker;

pub use bridge::{Bridge, Progress, bridge};
pub use dead_letter::{DeadLetter, NotGivenUp};
pub use job::Job;
pub use lanes::{Lanes, Summary, lanes};
pub use outcome::Outcome;
pub use retry::{Exponential, RetryPolicy};
pub use stop::Stop;
