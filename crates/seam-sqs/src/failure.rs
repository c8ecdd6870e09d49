//! Errors of SQS and of its client in the words of the contract: one line each, the right variant, no secret.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use seam_core::Error;

/// Why a call came to nothing.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) proof: Proof,
}

/// What is known of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// No byte of it left this process.
    NeverLeft,
    /// SQS answered that it did nothing.
    Refused,
    /// It may have been done.
    Doubt,
}

impl Failure {
    /// Whether there is no such queue.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.error, Error::NotFound { .. })
    }
}

/// Why a call failed.
pub(crate) fn of_call<E>(endpoint: &str, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let lost =
        |proof, reason: String| Failure { error: Error::disconnected(endpoint, reason), proof };
    match error {
        SdkError::ServiceError(service) => {
            let (error, status) = (service.err(), service.raw().status().as_u16());
            let (code, said) =
                (error.code().unwrap_or_default(), error.message().unwrap_or_default());
            let proof = if status >= 500 { Proof::Doubt } else { Proof::Refused };
            Failure { error: of_code(endpoint, code, said, status), proof }
        }
        SdkError::TimeoutError(_) => {
            lost(Proof::Doubt, "SQS does not answer in time; is the endpoint alive?".to_owned())
        }
        SdkError::DispatchFailure(dispatch) => {
            let cause = dispatch.as_connector_error();
            let cause = cause.map(|error| -> &(dyn StdError + 'static) { error });
            match cause.filter(|error| is_connect(*error)) {
                Some(error) => lost(Proof::NeverLeft, of_connect(error)),
                None => lost(Proof::Doubt, "the connection broke before SQS answered".to_owned()),
            }
        }
        SdkError::ResponseError(_) => Failure {
            error: Error::Protocol {
                endpoint: endpoint.to_owned(),
                reason: "what came is no answer of SQS; does the endpoint speak it?".to_owned(),
            },
            proof: Proof::Doubt,
        },
        // Mostly that there are no credentials any more.
        other => Failure {
            error: Error::Denied {
                endpoint: endpoint.to_owned(),
                reason: format!("the call could not be made: {}", DisplayErrorContext(other)),
            },
            proof: Proof::NeverLeft,
        },
    }
}

/// What SQS refused, by the code it gives: of a call, or of one entry of a batch.
pub(crate) fn of_code(endpoint: &str, code: &str, said: &str, status: u16) -> Error {
    let name = code.rsplit(['.', '#']).next().unwrap_or(code);
    let text = || endpoint.to_owned();
    let said = if said.is_empty() { name } else { said };
    if name.contains("NonExistentQueue") || name.contains("QueueDoesNotExist") {
        return Error::NotFound {
            what: format!("the queue of {endpoint}"),
            remedy: "create it, or leave out `declare=no`".to_owned(),
        };
    }
    if let Some(reason) = denied(name) {
        return Error::Denied { endpoint: text(), reason: format!("{reason} ({said})") };
    }
    let is_throttled = name.contains("Throttl") || name.contains("OverLimit");
    if is_throttled || status >= 500 || name == "QueueDeletedRecently" {
        let cause = io::Error::other(format!("{name}: {said}; try again later"));
        return Error::Native { endpoint: text(), retryable: true, source: Arc::new(cause) };
    }
    Error::Rejected { endpoint: text(), reason: format!("{name}: {said}") }
}

/// What is wrong with who asks, if that is what a code says.
fn denied(name: &str) -> Option<&'static str> {
    Some(match name {
        "InvalidClientTokenId" | "UnrecognizedClientException" | "InvalidAccessKeyId" => {
            "the access key is unknown"
        }
        "SignatureDoesNotMatch" | "IncompleteSignature" | "InvalidSignatureException" => {
            "the secret key is wrong, or the clock is"
        }
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
            "the credentials have expired, or the clock is wrong"
        }
        "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "InvalidSecurity" => "it wants to be signed",
        "OptInRequired" => "the account may not use SQS in this region",
        _ if name.starts_with("AccessDenied") || name == "UnauthorizedOperation" => {
            "a right is missing; see the policy in docs/sqs.md"
        }
        _ if name.starts_with("Kms") || name.starts_with("KMS") => {
            "the key that encrypts the queue may not be used"
        }
        _ => return None,
    })
}

/// Whether a connection was never made.
fn is_connect(error: &(dyn StdError + 'static)) -> bool {
    type Http = hyper_util::client::legacy::Error;
    causes(error).any(|cause| cause.downcast_ref::<Http>().is_some_and(Http::is_connect))
}

fn of_connect(error: &(dyn StdError + 'static)) -> String {
    let socket = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
    let said: String = causes(error).map(|cause| format!("{cause}; ")).collect();
    if said.contains("certificate") {
        "its certificate is of no authority that is trusted here, or for another name; see `ca=`"
    } else if said.contains("dns error") || said.contains("lookup address") {
        "there is no such host; is the region right?"
    } else if said.contains("InvalidMessage") || said.contains("invalid message") {
        "the port does not answer in TLS; for one without TLS write `sqs+http://`"
    } else {
        match socket.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => {
                "nobody listens there; is the endpoint started, and is the port right?"
            }
            _ => "no connection could be made; is the host up, and is the port right?",
        }
    }
    .to_owned()
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source())
}

#[cfg(test)]
mod tests;
