//! Where a case is played: a queue of its own, and proxies before SQS.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use integration_tests::actors::Producer;
use integration_tests::http::Request;
use integration_tests::proxy::Proxy;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::super::stage::{Stage, patience};

/// A queue of SQS.
pub(crate) struct Place {
    sqs: SocketAddr,
    queue: String,
}

impl Place {
    /// A queue whose name begins with `name`; it is created when it is first opened.
    ///
    /// # Panics
    ///
    /// Where the tests were not started by `integration-tests/brokers`.
    pub(super) fn new(name: &str) -> Self {
        let url = std::env::var("SEAM_TEST_SQS_URL").unwrap_or_else(|_| {
            panic!(
                "SEAM_TEST_SQS_URL is not set: start cargo by `integration-tests/brokers run sqs --`"
            )
        });
        Self::at(&url, name)
    }

    /// Such a queue of the SQS at `url`.
    pub(crate) fn at(url: &str, name: &str) -> Self {
        let (_, sqs) = url.split_once("://").unwrap();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let (stem, suffix) = match name.strip_suffix(".fifo") {
            Some(stem) => (stem, ".fifo"),
            None => (name, ""),
        };
        Self { sqs: sqs.parse().unwrap(), queue: format!("{stem}-{now:x}{suffix}") }
    }

    /// A proxy before SQS.
    pub(super) async fn proxy(&self, seed: u64) -> Proxy {
        Proxy::start(self.sqs, seed).await.unwrap()
    }

    /// Where the queue is: `host:port/name`.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.sqs, self.queue)
    }

    /// The queue by way of `proxy`.
    pub(super) fn by(&self, proxy: &Proxy) -> String {
        self.uri(proxy.address())
    }

    /// The queue without a proxy.
    pub(crate) fn directly(&self) -> String {
        self.uri(self.sqs)
    }

    /// Who sends so many to `uri`. Without keys, since a standard queue keeps no order.
    pub(super) fn producer(stage: &Stage, uri: &str, messages: u64) -> Producer {
        Producer { keys: 0, ..stage.producer(uri, "anna", messages) }
    }

    fn uri(&self, at: SocketAddr) -> String {
        format!("sqs+http://test:test@{at}/{}?region=us-east-1", self.queue)
    }

    /// Waits until nothing is left in the queue, in nobody's hand either.
    pub(crate) async fn until_empty(&self) {
        let until = Instant::now() + patience();
        loop {
            let left = self.left().await;
            if left == 0 {
                return;
            }
            assert!(Instant::now() < until, "{left} messages are left");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many messages SQS has, those in somebody's hand included.
    async fn left(&self) -> u64 {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let url = format!("http://{}/queue/us-east-1/000000000000/{}", self.sqs, self.queue);
        let asked = json!({ "QueueUrl": url, "AttributeNames": names });
        let answer = Request::new("GetQueueAttributes", asked).call(self.sqs).await.unwrap();
        let count = |name: &str| -> u64 {
            let count = answer.body["Attributes"][name].as_str();
            count.unwrap_or_else(|| panic!("no {name}: {answer:?}")).parse().unwrap()
        };
        names.into_iter().map(count).sum()
    }

    /// Deletes the queue.
    pub(super) async fn remove(&self) {
        seam::registry().remove(self.directly().as_str()).await.unwrap();
    }
}
