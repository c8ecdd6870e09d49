//! E13: certificates are renewed again and again under load, and once by a broken one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::bare::Over;
use integration_tests::packets::{Line, PacketRelay};
use integration_tests::{Figures, Scale, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use seam_certificates::issue::{Authority, Purpose, Wish};
use seam_conformance::ledger::{Ledger, Outcome, Stamp};
use seam_core::{Connection, Event, Registry, Sender};
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

use super::stage::{Stage, free_address, patience};
use super::taking::acknowledge;

const HOUR: Duration = Duration::from_secs(3600);
/// Between two messages, and between two that connect.
const SEND: Duration = Duration::from_millis(1);
const CONNECT: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cert_reload() {
    for over in [Over::Tls, Over::Quic] {
        renew(over).await;
    }
}

async fn renew(over: Over) {
    let (stage, seed) = (Stage::new().await, seed());
    let swaps = Scale::of_environment().pick(3, 100);
    let (folder, port) = (stage.folder().display(), free_address().port());
    let shop = Shop::new(stage.folder());
    let registry = seam::registry();
    let listens =
        format!("{over}://localhost:{port}/load?cert={folder}/own.pem&key={folder}/own.pem");
    let dials = format!("{over}://localhost:{port}/load?ca={folder}/ca.pem");
    let server = registry.server(listens.as_str()).await.unwrap();
    let receiver = server.receiver().await.unwrap();
    let client = registry.client(format!("{dials}&send_timeout=10m")).await.unwrap();
    let (ledger, sender) = (Ledger::new(), client.sender().await.unwrap());
    let (over_now, is_over) = watch::channel(false);
    let receiving = tokio::spawn(acknowledge(receiver, ledger.clone()));
    let sending = tokio::spawn(send(sender, ledger.clone(), seed, is_over.clone()));
    let connecting = tokio::spawn(connect(registry, dials, is_over));

    let broken_at = swaps / 2;
    for swap in 0..swaps {
        let before = server.statistics().reloads_failed;
        if swap == broken_at {
            write(stage.folder(), "own.pem", "nothing\n");
            let reason = told(&server).await;
            assert!(reason.contains("own.pem") && reason.contains("used on"), "{reason}");
            assert_eq!(server.statistics().reloads_failed, before + 1);
        }
        let authority = (swap + 1) % 2;
        shop.show(authority);
        let one = format!(
            "{over}://localhost:{port}/load?connect_timeout=5s&ca={folder}/{authority}.pem"
        );
        shown(&one).await;
    }
    over_now.send_replace(true);
    let connects = connecting.await.unwrap();
    sending.await.unwrap();
    assert!(client.drain(patience()).await.unwrap().is_clean());
    assert_eq!(server.drain(patience()).await.unwrap().unsettled, 0);
    receiving.await.unwrap();

    let report = ledger.check();
    Figures::new("E13 cert_reload", seed, report)
        .with("over", over)
        .with("sent", report.sent)
        .with("connects", connects)
        .with("swaps", swaps)
        .print();
    report.assert_clean();
    assert_eq!((report.acknowledged, report.duplicated, report.unsettled), (report.sent, 0, 0));
    assert_eq!((client.statistics().disconnects, server.statistics().reloads_failed), (0, 1));
    assert!(connects > 0);
}

/// Whoever was asked to prove its address, as under load, comes again behind a reload, and is let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic_retry_outlives_a_reload() {
    let (stage, seed) = (Stage::new().await, seed());
    let (folder, port) = (stage.folder().display(), free_address().port());
    let shop = Shop::new(stage.folder());
    let own = format!("cert={folder}/own.pem&key={folder}/own.pem");
    let registry = seam::registry();
    let _server = registry.server(format!("quic://localhost:{port}/load?{own}")).await.unwrap();
    let dials = |port: u16, ca: &str| format!("quic://localhost:{port}/load?ca={folder}/{ca}.pem");
    // Each on a connection of its own: so many that whoever comes next is asked.
    let crowd = (0..CROWD).map(|_| async { seam::registry().client(dials(port, "ca")).await });
    let crowd: Vec<Connection> = join_all(crowd).await.into_iter().map(Result::unwrap).collect();
    let relay = PacketRelay::start(([127, 0, 0, 1], port).into(), seed).await.unwrap();
    relay.set(Line { delay: Duration::from_millis(1500), ..Line::default() });
    let uri = format!("{}&connect_timeout=60s", dials(relay.address().port(), "ca"));
    let late = tokio::spawn(async move { seam::registry().client(uri).await });
    let until = Instant::now() + patience();
    while relay.counts().down == 0 {
        assert!(Instant::now() < until, "nobody asks it");
        sleep(SEND).await;
    }
    // The question is on its way, and the answer far from here.
    shop.show(1);
    shown(&dials(port, "1")).await;
    let late = timeout(patience(), late).await.expect("it ends").unwrap();
    late.expect("it is let in");
    assert_eq!(crowd.len(), CROWD);
}

/// More connections than are let in without a question.
const CROWD: usize = 80;

/// Where certificates of two authorities are shown in turn.
struct Shop {
    folder: PathBuf,
    authorities: [Authority; 2],
}

impl Shop {
    /// Shows one of the first. `0.pem` and `1.pem` trust one of them each, `ca.pem` both.
    fn new(folder: &Path) -> Self {
        let authorities = ["one", "other"].map(|name| Authority::new(name, HOUR).unwrap());
        let pems = authorities.each_ref().map(Authority::pem);
        write(folder, "0.pem", &pems[0]);
        write(folder, "1.pem", &pems[1]);
        write(folder, "ca.pem", &pems.concat());
        let shop = Self { folder: folder.to_owned(), authorities };
        shop.show(0);
        shop
    }

    /// Shows a new one, with its key in the same file, which is replaced at once: two files are not.
    fn show(&self, authority: usize) {
        let wish = Wish::new(Purpose::Server, vec!["localhost".to_owned()], HOUR);
        let issued = self.authorities[authority].issue(&wish).unwrap();
        write(&self.folder, "own.pem", &format!("{}{}", issued.certificate, issued.key));
    }
}

/// Writes a file at once, for its owner's eyes.
fn write(folder: &Path, name: &str, text: &str) {
    let new = folder.join("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::rename(new, folder.join(name)).unwrap();
}

async fn told(server: &Connection) -> String {
    let telling = async {
        loop {
            match server.next_event().await {
                Some(Event::ReloadFailed { reason }) => return reason,
                Some(_) => {}
                None => panic!("it has ended"),
            }
        }
    };
    timeout(patience(), telling).await.expect("it is told")
}

/// Waits until whoever dials is shown what this URI trusts.
async fn shown(uri: &str) {
    // Its own, so that nothing is shared with those who are let in.
    let registry = seam::registry();
    let until = Instant::now() + patience();
    while let Err(error) = registry.client(uri).await {
        assert!(Instant::now() < until, "{error}");
        sleep(CONNECT).await;
    }
}

async fn send(sender: Sender, ledger: Ledger, seed: u64, is_over: watch::Receiver<bool>) {
    let (mut random, mut ticks, mut number) = (StdRng::seed_from_u64(seed), interval(SEND), 0);
    while !*is_over.borrow() {
        ticks.tick().await;
        number += 1;
        let key = format!("key-{}", random.random_range(0..8));
        let (stamp, datagram) = Stamp::new("anna", &key, number).datagram(b"12 apples");
        ledger.sent(&stamp);
        let sent = sender.send(datagram.with_key(key)).await;
        ledger.outcome(&stamp, Outcome::of(&sent));
    }
}

/// Connects all the time; how often.
async fn connect(registry: Registry, uri: String, is_over: watch::Receiver<bool>) -> u64 {
    let (mut ticks, mut connects) = (interval(CONNECT), 0);
    while !*is_over.borrow() {
        ticks.tick().await;
        let client = registry.client(uri.as_str()).await.expect("everybody is let in");
        assert!(client.drain(patience()).await.unwrap().is_clean());
        connects += 1;
    }
    connects
}
