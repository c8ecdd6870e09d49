//! What a handler may return.

use std::fmt::Display;

use seam_core::Verdict;

/// What a handler says of its attempt. Made from whatever a handler finds natural to return:
///
/// | returned | becomes |
/// | --- | --- |
/// | `()`, `Ok(())` | [`Verdict::Ack`] |
/// | `verdict`, `Ok(verdict)` | that verdict |
/// | `Err(error)` | what the [`RetryPolicy`](crate::RetryPolicy) says; the error's text is the reason |
///
/// ```
/// use seam_core::Verdict;
/// use seam_layers::Outcome;
///
/// assert_eq!(Outcome::from(()), Outcome::Settle(Verdict::Ack));
/// let parsed: Result<Verdict, std::num::ParseIntError> = "12".parse::<u8>().map(|_| Verdict::Discard);
/// assert_eq!(Outcome::from(parsed), Outcome::Settle(Verdict::Discard));
/// assert_eq!(Outcome::from(Err::<(), _>("no stock")), Outcome::Failed("no stock".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Settled by the handler.
    Settle(Verdict),
    /// Failed, with the reason; the retry policy decides.
    Failed(Box<str>),
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Settle(Verdict::Ack)
    }
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        Self::Settle(verdict)
    }
}

impl<T: Into<Self>, E: Display> From<Result<T, E>> for Outcome {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(outcome) => outcome.into(),
            Err(error) => Self::Failed(error.to_string().into()),
        }
    }
}
