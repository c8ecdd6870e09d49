//! The SDK by itself: one caller, and as many messages in a call as it takes.

use std::error::Error;
use std::hint::black_box;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, SendMessageBatchRequestEntry};

use crate::job::Job;
use crate::paired::{Meter, Outcome};

/// Messages of a call.
const FULL: usize = 10;

fn client(job: &Job) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "bench"))
        .endpoint_url(format!("http://{}", job.host))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

fn url(job: &Job) -> String {
    format!("http://{}/1/bench", job.host)
}

pub(crate) async fn send(job: &Job) -> Result<Outcome, Box<dyn Error>> {
    let (client, url, body) = (client(job), url(job), "7".repeat(job.size));
    let meter = Meter::start();
    for _ in 0..job.messages / FULL {
        let mut call = client.send_message_batch().queue_url(&url);
        for at in 0..FULL {
            let entry = SendMessageBatchRequestEntry::builder().id(at.to_string());
            call = call.entries(entry.message_body(black_box(&body)).build()?);
        }
        assert_eq!(call.send().await?.successful().len(), FULL);
    }
    Ok(meter.stop())
}

pub(crate) async fn receive(job: &Job) -> Result<Outcome, Box<dyn Error>> {
    let (client, url) = (client(job), url(job));
    let (mut meter, mut count) = (None, 0);
    while count < job.messages {
        let call = client.receive_message().queue_url(&url).max_number_of_messages(10);
        let messages = call.wait_time_seconds(20).send().await?.messages.unwrap_or_default();
        meter.get_or_insert_with(Meter::start);
        count += messages.len();
        delete(&client, &url, &messages).await?;
    }
    Ok(meter.expect("something came").stop())
}

async fn delete(client: &Client, url: &str, messages: &[Message]) -> Result<(), Box<dyn Error>> {
    let mut call = client.delete_message_batch().queue_url(url);
    for (at, message) in messages.iter().enumerate() {
        assert!(message.body.is_some());
        let entry = DeleteMessageBatchRequestEntry::builder().id(at.to_string());
        call = call.entries(entry.set_receipt_handle(message.receipt_handle.clone()).build()?);
    }
    assert_eq!(call.send().await?.successful().len(), messages.len());
    Ok(())
}
