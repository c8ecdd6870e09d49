//! E23: what was received from one transport and is sent over another arrives as it was, over every pair, in a chain
//! that ends where it began; or it is refused before anything is sent.

use integration_tests::bare::Over;
use integration_tests::{Figures, Scale, seed};
use rand::SeedableRng;
use rand::rngs::StdRng;
use seam_conformance::ledger::Report;
use seam_core::{Connection, Datagram, Error, Fate, Receiver, Sender, binary};
use tokio::time::timeout;

use super::any_datagram::envelope;
use super::over::Place;
use super::stage::{Stage, patience};

/// A transport, open at both ends.
struct Hop {
    sender: Sender,
    receiver: Receiver,
    _server: Connection,
    equal: u32,
    refused: u32,
}

impl Hop {
    async fn open(uri: &str) -> Self {
        let registry = seam::registry();
        let server = registry.server(uri).await.unwrap();
        let receiver = server.receiver().await.unwrap();
        let sender = registry.sender(uri).await.unwrap();
        Self { sender, receiver, _server: server, equal: 0, refused: 0 }
    }

    /// What arrives of `datagram`; where it is refused, what comes back.
    async fn pass(&mut self, datagram: Datagram) -> Datagram {
        match timeout(patience(), self.sender.send(datagram)).await.unwrap() {
            Ok(_) => {
                let next = timeout(patience(), self.receiver.next()).await.unwrap();
                let delivery = next.unwrap().unwrap();
                let datagram = delivery.datagram().clone();
                delivery.ack().unwrap();
                self.equal += 1;
                datagram
            }
            Err(error) => {
                let typed = matches!(
                    error.error(),
                    Error::Invalid { .. }
                        | Error::TooLarge { .. }
                        | Error::Expired
                        | Error::Unsupported { .. }
                );
                assert!(typed && error.fate() == Fate::NotSent, "{error}");
                self.refused += 1;
                error.into_parts().0
            }
        }
    }
}

/// Sends each datagram over the transports of `walk`, one after the other, each from what the one before delivered.
async fn walk(uris: &[String], walk: &[usize], count: u32) {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut hops = Vec::new();
    for uri in uris {
        hops.push(Hop::open(uri).await);
    }
    for _ in 0..count {
        let sent = envelope(&mut random);
        let form = form(&sent);
        let mut datagram = sent.clone();
        for (step, at) in walk.iter().enumerate() {
            datagram = hops[*at].pass(datagram).await;
            assert_eq!(datagram, sent, "step {step} of {walk:?}");
            assert_eq!(self::form(&datagram), form, "step {step} of {walk:?}");
        }
    }
    for (at, (hop, uri)) in hops.iter().zip(uris).enumerate() {
        let passed = walk.iter().filter(|step| **step == at).count();
        Figures::new("E23 lossless_pairs", seed, Report::default())
            .with("over", uri.split(':').next().unwrap())
            .with("pairs", walk.len() - 1)
            .with("times", passed)
            .with("equal", hop.equal)
            .with("refused", hop.refused)
            .print();
        assert!(hop.equal > hop.refused && hop.refused > 0, "{} {}", hop.equal, hop.refused);
    }
}

/// Every bit of it.
fn form(datagram: &Datagram) -> Vec<u8> {
    let mut form = Vec::new();
    binary::encode(datagram.view(), &mut form);
    form
}

/// What needs no broker.
fn local(stage: &Stage) -> Vec<String> {
    let links = Over::EACH.map(|over| Place::new(over, stage).both("credit=4096"));
    std::iter::once("memory://pairs".to_owned()).chain(links).collect()
}

#[tokio::test]
async fn lossless_pairs() {
    let stage = Stage::new().await;
    let uris = local(&stage);
    walk(&uris, &every_pair(uris.len()), Scale::of_environment().pick(500, 10_000)).await;
}

/// With every broker whose client was compiled in. SQS as a standard queue: a FIFO queue takes nothing of one id twice.
#[cfg(any(feature = "kafka", feature = "rabbitmq", feature = "sqs"))]
#[tokio::test]
#[ignore = "needs brokers: integration-tests/brokers run kafka rabbitmq sqs -- cargo test --workspace --all-features -- --include-ignored"]
async fn lossless_pairs_with_brokers() {
    let stage = Stage::new().await;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let of = |variable: &str| {
        std::env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: start cargo by `integration-tests/brokers run --`")
        })
    };
    let brokers: Vec<String> = [
        #[cfg(feature = "kafka")]
        format!("kafka://{}/pairs-{now:x}?partitions=1", of("SEAM_TEST_KAFKA_URL")),
        #[cfg(feature = "rabbitmq")]
        format!("{}?address=pairs-{now:x}", of("SEAM_TEST_RABBITMQ_URL")),
        #[cfg(feature = "sqs")]
        format!(
            "sqs+http://test:test@{}/pairs-{now:x}",
            of("SEAM_TEST_SQS_URL").trim_start_matches("http://")
        ),
    ]
    .into();
    let locals = ["memory://pairs".to_owned(), Place::new(Over::Tcp, &stage).both("credit=4096")];
    let uris: Vec<_> = locals.into_iter().chain(brokers.iter().cloned()).collect();
    let all = every_pair(uris.len());
    walk(&uris, &all, Scale::of_environment().pick(500, 10_000)).await;
    for uri in brokers {
        seam::registry().remove(uri.as_str()).await.unwrap();
    }
}

/// A walk on which each of so many follows each other one once, back to where it began.
fn every_pair(count: usize) -> Vec<usize> {
    let pairs = (0..count).flat_map(|one| (one + 1..count).flat_map(move |other| [one, other]));
    let walk: Vec<_> = pairs.chain([0]).collect();
    let steps: std::collections::BTreeSet<_> =
        walk.windows(2).map(|step| (step[0], step[1])).collect();
    assert_eq!((steps.len(), walk.len()), (count * (count - 1), count * (count - 1) + 1));
    walk
}
