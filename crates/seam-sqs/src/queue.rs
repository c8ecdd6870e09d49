//! The queue of an endpoint: found, or made where it is absent, and held against what the endpoint asks for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName as Name;
use seam_core::{Error, Result};
use tokio::time::Instant;

use crate::client::Clients;
use crate::config::{Config, FIFO};
use crate::failure::{self, Failure};
use crate::replies;

/// A queue that is there.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) url: String,
    /// The bytes that a message may have.
    pub(crate) largest: usize,
    /// Its name in all of AWS; absent where we may not ask.
    pub(crate) arn: Option<String>,
}

/// Finds and makes the queue of an endpoint.
pub(crate) struct Queue {
    pub(crate) clients: Clients,
    pub(crate) config: Arc<Config>,
    /// The endpoint, without secrets.
    pub(crate) name: String,
    /// When it was last made again, so that many who miss it make it once.
    again: tokio::sync::Mutex<Option<Instant>>,
}

type Attributes = HashMap<Name, String>;

impl Queue {
    pub(crate) fn new(clients: Clients, config: Arc<Config>, name: String) -> Arc<Self> {
        Arc::new(Self { clients, config, name, again: tokio::sync::Mutex::default() })
    }

    fn calls(&self) -> &Client {
        &self.clients.calls
    }

    /// The queue, made if it may be; held against what is asked for.
    ///
    /// # Errors
    ///
    /// Why there is none, or none such.
    pub(crate) async fn find(&self) -> Result<Found> {
        let url = match self.url().await {
            Err(failure) if failure.is_missing() && self.may_create() => self.create().await?,
            found => found.map_err(|failure| failure.error)?,
        };
        let asked = self.calls().get_queue_attributes().queue_url(&url);
        let answer = asked.attribute_names(Name::All).send().await;
        let attributes = match answer.map_err(|error| failure::of_call(&self.name, &error)) {
            Ok(answer) => answer.attributes.unwrap_or_default(),
            // Who may only send or receive can do so.
            Err(Failure { error: Error::Denied { .. }, .. }) => Attributes::new(),
            Err(failure) => return Err(failure.error),
        };
        self.check(&attributes)?;
        let least = self.config.least_message();
        let largest = number(&attributes, &Name::MaximumMessageSize).unwrap_or(least);
        Ok(Found {
            url,
            largest: self.config.max_message.unwrap_or(largest),
            arn: attributes.get(&Name::QueueArn).cloned(),
        })
    }

    /// Makes it again after somebody missed it.
    ///
    /// # Errors
    ///
    /// That it may not, or cannot, be made.
    pub(crate) async fn again(&self, missed: Failure) -> Result<(), Failure> {
        if !self.may_create() {
            return Err(missed);
        }
        let mut again = self.again.lock().await;
        if again.is_some_and(|made| made.elapsed() < FRESH) {
            return Ok(());
        }
        match self.find().await {
            Ok(_) => {
                *again = Some(Instant::now());
                Ok(())
            }
            Err(error) => Err(Failure { error, ..missed }),
        }
    }

    /// One of another account is made by nobody but its owner.
    fn may_create(&self) -> bool {
        self.config.declare && self.config.account.is_none()
    }

    async fn url(&self) -> Result<String, Failure> {
        let asked = self.calls().get_queue_url().queue_name(&self.config.queue);
        let asked = asked.set_queue_owner_aws_account_id(self.config.account.clone());
        let answer = asked.send().await.map_err(|error| failure::of_call(&self.name, &error))?;
        Ok(answer.queue_url.unwrap_or_default())
    }

    async fn create(&self) -> Result<String> {
        let mut asked = self.calls().create_queue().queue_name(&self.config.queue);
        for (name, value) in self.wanted() {
            asked = asked.attributes(name, value);
        }
        match asked.send().await {
            Ok(answer) => Ok(answer.queue_url.unwrap_or_default()),
            // Somebody else was faster; what they made is looked at next.
            Err(error) if is_there(&error) => self.url().await.map_err(|failure| failure.error),
            Err(error) => Err(failure::of_call(&self.name, &error).error),
        }
    }

    /// What a queue that is made has.
    fn wanted(&self) -> Vec<(Name, String)> {
        let config = &self.config;
        let mut wanted = Vec::new();
        if config.is_fifo {
            wanted.push((Name::FifoQueue, "true".to_owned()));
        }
        if config.is_throughput_high {
            wanted.push((Name::DeduplicationScope, "messageGroup".to_owned()));
            wanted.push((Name::FifoThroughputLimit, "perMessageGroupId".to_owned()));
        }
        if config.is_visibility_given {
            wanted.push((Name::VisibilityTimeout, config.visibility.as_secs().to_string()));
        }
        wanted
    }

    fn check(&self, found: &Attributes) -> Result<()> {
        let queue = format!("the queue `{}`", self.config.queue);
        let mismatch = |name: &Name, found: &str, wanted: String| Error::Mismatch {
            what: queue.clone(),
            found: format!("{name}={found}"),
            wanted,
        };
        for (name, wanted) in self.wanted() {
            if let Some(found) = found.get(&name).filter(|found| **found != wanted) {
                return Err(mismatch(&name, found, format!("{name}={wanted}")));
            }
        }
        let least = self.config.least_message();
        match number(found, &Name::MaximumMessageSize) {
            Some(size) if size < least => {
                let wanted = format!("`max_message` of {least} or more");
                return Err(mismatch(&Name::MaximumMessageSize, &size.to_string(), wanted));
            }
            _ => {}
        }
        let redrive = found.get(&Name::RedrivePolicy).and_then(|policy| receives(policy));
        match (redrive, self.config.attempts) {
            (Some(most), Some(attempts)) if most <= attempts => {
                let wanted = format!("more, for `retry={attempts}`");
                Err(mismatch(&Name::RedrivePolicy, &format!("maxReceiveCount {most}"), wanted))
            }
            _ => Ok(()),
        }
    }

    /// Makes a queue for replies; its URL.
    ///
    /// # Errors
    ///
    /// Those of SQS.
    pub(crate) async fn create_replies(&self, queue: &str) -> Result<String> {
        let asked = self.calls().create_queue().queue_name(queue);
        let asked = asked.attributes(Name::MessageRetentionPeriod, RETENTION.as_secs().to_string());
        let answer =
            asked.send().await.map_err(|error| failure::of_call(&self.name, &error).error)?;
        Ok(answer.queue_url.unwrap_or_default())
    }

    /// Deletes a queue. That it does not exist is no error.
    pub(crate) async fn delete(&self, url: &str) -> Result<()> {
        let deleted = self.calls().delete_queue().queue_url(url).send().await;
        match deleted.map_err(|error| failure::of_call(&self.name, &error)) {
            Err(failure) if !failure.is_missing() => Err(failure.error),
            _ => Ok(()),
        }
    }

    /// Deletes the queue, and those for replies that a crash has left.
    ///
    /// # Errors
    ///
    /// Those of SQS.
    pub(crate) async fn remove(&self) -> Result<()> {
        match self.url().await {
            Ok(url) => self.delete(&url).await?,
            Err(failure) if failure.is_missing() => {}
            Err(failure) => return Err(failure.error),
        }
        let prefix = replies::prefix(&self.config.queue);
        let listed = self.calls().list_queues().queue_name_prefix(prefix).send().await;
        // Who may not list queues has others to do it.
        let left = listed.map(|listed| listed.queue_urls.unwrap_or_default()).unwrap_or_default();
        let name = |url: &String| url.rsplit('/').next().unwrap_or_default().to_owned();
        for url in left.iter().filter(|url| replies::is_ours(&name(url), &self.config.queue)) {
            self.delete(url).await?;
        }
        Ok(())
    }
}

/// How long replies wait for a requester: after that nobody waits for them.
const RETENTION: Duration = Duration::from_secs(300);

/// A queue that was made again just now is not made once more.
const FRESH: Duration = Duration::from_secs(1);

fn number(attributes: &Attributes, name: &Name) -> Option<usize> {
    attributes.get(name)?.parse().ok()
}

/// How often SQS delivers before it moves a message to a dead-letter queue, as a redrive policy says in JSON.
fn receives(policy: &str) -> Option<u32> {
    let (_, rest) = policy.split_once("\"maxReceiveCount\"")?;
    let digits = rest.trim_start_matches([':', ' ', '"']);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

fn is_there<E: aws_sdk_sqs::error::ProvideErrorMetadata, R>(
    error: &aws_sdk_sqs::error::SdkError<E, R>,
) -> bool {
    let code = error.as_service_error().and_then(|error| error.code());
    code.is_some_and(|code| code.contains("QueueNameExists") || code.contains("QueueAlreadyExists"))
}

/// The name of a queue without what marks it as FIFO.
pub(crate) fn stem(queue: &str) -> &str {
    queue.strip_suffix(FIFO).unwrap_or(queue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_policy_says_how_often_it_delivers() {
        let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:r:1:d","maxReceiveCount":5}"#;
        assert_eq!(receives(policy), Some(5));
        assert_eq!(receives(r#"{"maxReceiveCount": "12","x":1}"#), Some(12));
        assert_eq!(receives("{}"), None);
    }
}
