//! E23: whatever headers hold, they arrive as they are, or are refused before anything is sent.

use integration_tests::{Figures, Scale, seed};
use rand::SeedableRng;
use rand::rngs::StdRng;
use seam_conformance::ledger::Report;
use seam_core::{Error, Fate, json};
use tokio::time::timeout;

use super::any_datagram::datagram;
use super::stage::{Stage, free_address, patience};

#[tokio::test]
async fn headers_round_trip() {
    let (_stage, seed) = (Stage::new().await, seed());
    let count = Scale::of_environment().pick(1_500, 10_000);
    for uri in ["memory://load".to_owned(), format!("tcp://{}/load", free_address())] {
        let mut random = StdRng::seed_from_u64(seed);
        let registry = seam::registry();
        let server = registry.server(uri.as_str()).await.unwrap();
        let mut receiver = server.receiver().await.unwrap();
        let sender = registry.sender(uri.as_str()).await.unwrap();
        let (mut equal, mut refused) = (0, 0);
        for _ in 0..count {
            let datagram = datagram(&mut random);
            let line = json::encode(datagram.view());
            assert!(!line.contains(['\n', '\r', '\0']), "one line: {line:?}");
            assert_eq!(json::decode(&line).unwrap(), datagram, "by way of {line}");
            let sent = timeout(patience(), sender.send(datagram.clone())).await.unwrap();
            match sent {
                Ok(_) => {
                    let next = timeout(patience(), receiver.next()).await.unwrap();
                    let delivery = next.unwrap().unwrap();
                    assert_eq!(delivery.datagram(), &datagram);
                    assert_eq!(json::encode(delivery.view()), line);
                    delivery.ack().unwrap();
                    equal += 1;
                }
                Err(error) => {
                    let typed =
                        matches!(error.error(), Error::Invalid { .. } | Error::TooLarge { .. });
                    assert!(typed && error.fate() == Fate::NotSent, "{error}");
                    assert_eq!(error.datagram(), &datagram, "it comes back as it was");
                    refused += 1;
                }
            }
        }
        assert_eq!(server.statistics().delivered, equal, "none extra");
        Figures::new("E23 headers_round_trip", seed, Report::default())
            .with("over", uri.split(':').next().unwrap())
            .with("equal", equal)
            .with("refused", refused)
            .print();
        assert!(equal > count / 2 && refused > count / 50, "{equal} {refused}");
    }
}
