//! What SQS and its client say, and what is made of it.

use aws_sdk_sqs::error::{ConnectorError, SdkError};
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError;

use super::*;

const ENDPOINT: &str = "sqs://eu-west-1/orders";

#[track_caller]
fn check(code: &str, status: u16, expected: &str, is_retryable: bool) {
    let error = of_code(ENDPOINT, code, "so it says", status);
    let variant = format!("{error:?}");
    assert!(variant.starts_with(expected), "{code}: {variant}");
    assert_eq!(error.is_retryable(), is_retryable, "{code}");
    assert_eq!(error.to_string().lines().count(), 1, "{code}");
}

#[test]
fn each_code_is_a_decision() {
    check("AWS.SimpleQueueService.NonExistentQueue", 400, "NotFound", false);
    check("com.amazonaws.sqs#QueueDoesNotExist", 400, "NotFound", false);
    check("AccessDenied", 403, "Denied", false);
    check("AccessDeniedException", 400, "Denied", false);
    check("InvalidClientTokenId", 403, "Denied", false);
    check("UnrecognizedClientException", 400, "Denied", false);
    check("SignatureDoesNotMatch", 403, "Denied", false);
    check("ExpiredToken", 403, "Denied", false);
    check("KmsAccessDenied", 400, "Denied", false);
    check("RequestThrottled", 403, "Native", true);
    check("ThrottlingException", 400, "Native", true);
    check("OverLimit", 403, "Native", true);
    check("AWS.SimpleQueueService.QueueDeletedRecently", 400, "Native", true);
    check("InternalError", 500, "Native", true);
    check("ServiceUnavailable", 503, "Native", true);
    check("InvalidMessageContents", 400, "Rejected", false);
    check("AWS.SimpleQueueService.BatchRequestTooLong", 400, "Rejected", false);
}

#[test]
fn what_broke_or_took_too_long_is_in_doubt() {
    type Failed = SdkError<SendMessageBatchError, HttpResponse>;
    let broken = ConnectorError::io(io::Error::from(io::ErrorKind::ConnectionReset).into());
    for error in [Failed::dispatch_failure(broken), Failed::timeout_error("late")] {
        let failure = of_call(ENDPOINT, &error);
        assert_eq!(failure.proof, Proof::Doubt, "{error:?}");
        assert!(failure.error.is_retryable(), "{error:?}");
    }
}
