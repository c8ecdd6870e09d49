//! Kafka's errors in the words of the contract.

use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaConfRes;
use seam_core::Error;

use crate::config;

/// What an error of the client comes to at `endpoint`, whose name holds no secret.
pub(crate) fn error(endpoint: &str, error: KafkaError) -> Error {
    match &error {
        KafkaError::ClientConfig(result, reason, name, _) => setting(*result, reason, name),
        KafkaError::AdminOp(code) => of_code(endpoint, *code),
        KafkaError::ClientCreation(reason) => creation(reason),
        _ => match error.rdkafka_error_code() {
            Some(code) => of_code(endpoint, code),
            None => native(endpoint, false, error),
        },
    }
}

/// A setting that the client does not take. Its own words may hold the value, which may be a secret.
fn setting(result: RDKafkaConfRes, reason: &str, name: &str) -> Error {
    let reason = match reason.split_once("allowed range ") {
        _ if result == RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => "has no such setting".to_owned(),
        Some((_, range)) => format!("does not take this value, only {}", range.trim()),
        None => "does not take this value".to_owned(),
    };
    Error::invalid_endpoint(format!(
        "`{}{name}`: librdkafka {reason}; see its CONFIGURATION.md",
        config::NATIVE
    ))
}

/// Settings that do not go together. It tells names, not values.
fn creation(reason: &str) -> Error {
    let file = config::FILES.iter().find(|(_, theirs)| reason.starts_with(theirs));
    Error::invalid_endpoint(match file {
        Some(_) if reason.contains("key values mismatch") => {
            "`key` is not the key of the certificate in `cert`".to_owned()
        }
        Some((ours, _)) => format!("`{ours}` is damaged, or locked by a password; give plain PEM"),
        None => format!(
            "librdkafka: {}",
            reason.lines().next().unwrap_or("settings do not go together")
        ),
    })
}

/// What an error code comes to where the user would need `right` on the topic.
pub(crate) fn of_code_lacking(endpoint: &str, code: Code, right: &str) -> Error {
    match code {
        Code::TopicAuthorizationFailed => Error::Denied {
            endpoint: endpoint.to_owned(),
            reason: format!("the user lacks permission {right} on the topic"),
        },
        _ => of_code(endpoint, code),
    }
}

/// What an error code comes to.
pub(crate) fn of_code(endpoint: &str, code: Code) -> Error {
    let text = || endpoint.to_owned();
    let denied = |reason: &str| Error::Denied { endpoint: text(), reason: reason.to_owned() };
    let lost = |reason: &str| Error::disconnected(endpoint, reason);
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed => {
            denied("user or password is wrong, or this listener asks for another `sasl=`")
        }
        Code::TopicAuthorizationFailed => denied("the user lacks a permission on the topic"),
        Code::GroupAuthorizationFailed => denied("the user lacks permission READ on the group"),
        Code::ClusterAuthorizationFailed => denied(
            "the user lacks permission WRITE on the topic, or IDEMPOTENT_WRITE on the cluster",
        ),
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            Error::NotFound {
                what: format!("the topic of {endpoint}"),
                remedy: "create it, or leave out `declare=no`".to_owned(),
            }
        }
        Code::SSL => lost("the TLS handshake failed; see `ca=`, and whether the port speaks TLS"),
        Code::Resolve => lost("the name of the host is not known; is it spelt right?"),
        Code::AllBrokersDown | Code::BrokerTransportFailure | Code::BrokerDestroy => {
            lost("no broker answers; is it started, and does the port speak what the scheme says?")
        }
        Code::OperationTimedOut | Code::RequestTimedOut | Code::MessageTimedOut => {
            lost("no broker answered in time")
        }
        Code::PurgeQueue | Code::PurgeInflight => Error::Closed { endpoint: text() },
        Code::InvalidTimestamp => {
            rejected(endpoint, "its `time` is too far from the broker's clock")
        }
        Code::MessageSizeTooLarge => rejected(
            endpoint,
            "it, or its batch, is over the topic's `max.message.bytes`; raise that, or lower `max_message` and \
             `librdkafka.batch.size`",
        ),
        Code::InvalidSessionTimeout => Error::invalid_endpoint(
            "the broker takes no group with this `librdkafka.session.timeout.ms`; leave it out",
        ),
        Code::PolicyViolation | Code::InvalidRecord | Code::InvalidMessage => {
            rejected(endpoint, &code.to_string())
        }
        _ => native(endpoint, is_passing(code), KafkaError::Global(code)),
    }
}

fn rejected(endpoint: &str, reason: &str) -> Error {
    Error::Rejected { endpoint: endpoint.to_owned(), reason: reason.to_owned() }
}

fn native(endpoint: &str, retryable: bool, error: KafkaError) -> Error {
    Error::Native { endpoint: endpoint.to_owned(), retryable, source: Arc::new(error) }
}

/// Whether the client goes on by itself after this.
pub(crate) fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::BrokerDestroy
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::WaitingForCoordinator
            | Code::WaitCache
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::RebalanceInProgress
            | Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::PollExceeded
            | Code::AssignmentLost
            | Code::NetworkException
            | Code::ThrottlingQuotaExceeded
    )
}

/// Whether the client gets no further after this, whatever it tries.
pub(crate) fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InconsistentGroupProtocol
            | Code::InvalidGroupId
            | Code::InvalidSessionTimeout
            | Code::GroupMaxSizeReached
            | Code::Fatal
            | Code::Fenced
            | Code::FencedInstanceId
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_broker_is_retryable_and_a_wrong_password_is_not() {
        assert!(of_code("kafka://b/t", Code::AllBrokersDown).is_retryable());
        let denied = of_code("kafka://b/t", Code::Authentication);
        assert!(matches!(denied, Error::Denied { .. }) && !denied.is_retryable());
    }

    #[test]
    fn a_setting_that_is_refused_is_named_without_its_value() {
        for (name, reason) in [("debug", "does not take this value"), ("none", "no such setting")] {
            let mut config = rdkafka::ClientConfig::new();
            let native = config.set(name, "hunter2").create_native_config();
            let text = error("kafka://b/t", native.map(drop).unwrap_err()).to_string();
            assert!(text.contains(name) && text.contains(reason), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn an_error_has_one_line() {
        for code in [Code::AllBrokersDown, Code::SSL, Code::Fatal, Code::InvalidTimestamp] {
            assert_eq!(of_code("kafka://b/t", code).to_string().lines().count(), 1);
        }
    }
}
