//! Giving deliveries up to any endpoint.

use std::fmt;

use seam_core::{Delivery, Error, SendError, Sender, dead_letter};

/// Gives deliveries up to an endpoint, with the reason, the number of attempts and the origin as headers: the
/// names are in [`seam_core::dead_letter`].
///
/// For handlers whose URI has no `?dead_letter=`, such as one that dead-letters to another registry.
///
/// ```
/// use seam_core::{Datagram, Memory, Registry, VirtualClock, dead_letter};
/// use seam_layers::DeadLetter;
///
/// let clock = VirtualClock::new(); // `seam::registry()` brings a real one
/// # clock.clone().block_on(async {
/// let registry = Registry::new().with(Memory::new()).with_clock(clock);
/// let mut receiver = registry.receiver("memory://orders").await?;
/// let mut parked = registry.receiver("memory://parked").await?;
/// registry.sender("memory://orders").await?.send(Datagram::new("no apples")).await?;
///
/// let letters = DeadLetter::new(registry.sender("memory://parked").await?, receiver.endpoint());
/// let delivery = receiver.next().await?.expect("it was sent");
/// letters.give_up(delivery, "no stock").await?;
/// let letter = parked.next().await?.expect("it was given up");
/// assert_eq!(letter.view().header(dead_letter::REASON), Some(&"no stock".into()));
/// letter.ack()?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct DeadLetter {
    sender: Sender,
    origin: String,
}

impl DeadLetter {
    /// Gives up through `sender` what was received from `origin`: an [`Endpoint`](seam_core::Endpoint), which
    /// shows no secret, or any other name.
    #[must_use]
    pub fn new(sender: Sender, origin: &impl ToString) -> Self {
        Self { sender, origin: origin.to_string() }
    }

    /// Sends the dead letter, and acknowledges the delivery once it has its receipt: a crash between the two
    /// duplicates it, and never loses it.
    ///
    /// Cancel safety: dropping it drops the delivery, which comes again; the letter may have been sent.
    ///
    /// # Errors
    ///
    /// With the delivery, still to be settled: why the letter could not be sent; or
    /// [`Error::LeaseLost`], the letter having been sent.
    pub async fn give_up(&self, delivery: Delivery, reason: &str) -> Result<(), NotGivenUp> {
        let attempts = delivery.note().attempt;
        let letter = dead_letter::dead_letter(delivery.datagram(), reason, attempts, &self.origin);
        match dead_letter::send(&self.sender, letter).await {
            Ok(_) => delivery.ack().map_err(|refused| {
                let (delivery, error) = refused.into_parts();
                NotGivenUp::new(delivery, error)
            }),
            Err(failed) => Err(NotGivenUp::new(delivery, cause(failed))),
        }
    }
}

fn cause(failed: SendError) -> Error {
    let (_, _, error) = failed.into_parts();
    error
}

impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeadLetter({} -> {})", self.origin, self.sender.endpoint())
    }
}

/// A delivery that could not be given up, and why. One pointer wide.
#[derive(Debug)]
pub struct NotGivenUp(Box<(Delivery, Error)>);

impl NotGivenUp {
    fn new(delivery: Delivery, error: Error) -> Self {
        Self(Box::new((delivery, error)))
    }

    /// Why.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.1
    }

    /// The delivery, still to be settled, and why it could not be given up.
    pub fn into_parts(self) -> (Delivery, Error) {
        *self.0
    }
}

impl fmt::Display for NotGivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot give the delivery up: {}", self.0.1)
    }
}

impl std::error::Error for NotGivenUp {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0.1)
    }
}
