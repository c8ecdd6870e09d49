//! `pipe://`: sessions over pipes of bytes within one process.
//!
//! A byte stream becomes a full transport by a [`Carrier`]: how to dial, how to listen, and the name under which
//! a listener is found. [`Links`] does the rest: sessions, groups, requests, peers, reconnection. This file is all
//! of it, and `tests/it/pipe.rs` runs the whole suite on it.
//!
//! ```
//! use seam_core::{Datagram, Registry};
//! use third_party::Pipe;
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let registry = Registry::new().with(Pipe::new());
//! let mut receiver = registry.receiver("pipe://orders").await?;
//! let sender = registry.sender("pipe://orders").await?;
//! sender.send(Datagram::new("12 apples")).await?;
//! if let Some(delivery) = receiver.next().await? {
//!     delivery.ack()?;
//! }
//! # Ok::<(), seam_core::Error>(()) }).unwrap();
//! ```

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use seam_core::{Endpoint, Error, Parameter, Result, Scheme, Shape};
use seam_link::{Arrival, Carrier, Link, Links, Listener};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

static SCHEMES: [Scheme; 1] = [Scheme::new("pipe", Shape::Address, &PARAMETERS)
    .with_about("sessions over pipes of bytes within one process")];

static PARAMETERS: [Parameter; seam_link::PARAMETERS.len()] = seam_link::PARAMETERS;

/// The transport of `pipe://`. Clones share their listeners.
#[derive(Clone, Debug)]
pub struct Pipe(Links);

impl Pipe {
    /// A transport on which nobody listens yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Links::new(&SCHEMES, Pipes::default()))
    }
}

impl Default for Pipe {
    fn default() -> Self {
        Self::new()
    }
}

seam_link::transport!(Pipe);

/// Who listens, by address.
#[derive(Debug, Default)]
struct Pipes(Mutex<HashMap<String, mpsc::Sender<DuplexStream>>>);

impl Pipes {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<DuplexStream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Carrier for Pipes {
    async fn dial(&self, endpoint: &Endpoint, _: usize) -> Result<Link> {
        let nobody = || Error::disconnected(endpoint.to_string(), "nobody listens there");
        let listener = self.lock().get(endpoint.address()).cloned().ok_or_else(nobody)?;
        let (near, far) = tokio::io::duplex(BUFFER);
        listener.send(far).await.map_err(|_| nobody())?;
        Ok(Link::new(near, endpoint.address()))
    }

    async fn listen(&self, endpoint: &Endpoint) -> Result<Box<dyn Listener>> {
        let (sender, arrivals) = mpsc::channel(BACKLOG);
        let mut pipes = self.lock();
        pipes.retain(|_, listener| !listener.is_closed());
        if pipes.contains_key(endpoint.address()) {
            return Err(Error::invalid_endpoint(format!("{endpoint} is listened at already")));
        }
        pipes.insert(endpoint.address().to_owned(), sender);
        Ok(Box::new(Ear(tokio::sync::Mutex::new(arrivals))))
    }

    fn listener_name(&self, endpoint: &Endpoint) -> String {
        endpoint.address().to_owned()
    }

    fn is_sheltered(&self, _: &Endpoint) -> bool {
        true // Nobody but this process can dial.
    }
}

/// One that listens.
struct Ear(tokio::sync::Mutex<mpsc::Receiver<DuplexStream>>);

#[async_trait]
impl Listener for Ear {
    async fn accept(&self) -> Result<Arrival> {
        let stream = self.0.lock().await.recv().await;
        let gone = || Error::disconnected("the listener", "the transport is gone");
        Ok(Arrival::ready(Link::new(stream.ok_or_else(gone)?, "a pipe")))
    }
}

/// Bytes that wait in a pipe, each way.
const BUFFER: usize = 64 << 10;
/// Dialled pipes that wait to be accepted.
const BACKLOG: usize = 64;
