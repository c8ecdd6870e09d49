//! The relay, before a plain echo.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use integration_tests::relay::{Cut, Plan, Relay, Way};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::PATIENCE;

/// A short while, in which what must not come does not come.
const MOMENT: Duration = Duration::from_millis(50);

/// An echo that ends with its test, a relay before it, and a connection through both.
struct Line {
    relay: Relay,
    client: TcpStream,
    echo: JoinHandle<()>,
}

impl Line {
    async fn new() -> Self {
        let (address, echo) = echo().await;
        let relay = Relay::start(address, 7).await.unwrap();
        let client = TcpStream::connect(relay.address()).await.unwrap();
        Self { relay, client, echo }
    }

    async fn say(&mut self, text: &[u8]) {
        self.client.write_all(text).await.unwrap();
    }

    async fn hear(&mut self, text: &[u8]) {
        let mut heard = vec![0; text.len()];
        let reading = self.client.read_exact(&mut heard);
        timeout(PATIENCE, reading).await.unwrap().unwrap();
        assert_eq!(heard, text);
    }

    /// All that comes until the end, and how it ends.
    async fn hear_out(&mut self) -> (Vec<u8>, Option<ErrorKind>) {
        let mut heard = Vec::new();
        let end = timeout(PATIENCE, self.client.read_to_end(&mut heard)).await.unwrap();
        (heard, end.err().map(|error| error.kind()))
    }

    async fn hears_nothing(&mut self) -> bool {
        timeout(MOMENT, self.client.read(&mut [0])).await.is_err()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.echo.abort();
    }
}

async fn echo() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let echo = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut input, mut output) = stream.split();
                let _ = tokio::io::copy(&mut input, &mut output).await;
                let _ = output.shutdown().await;
            });
        }
    });
    (address, echo)
}

#[tokio::test]
async fn it_forwards_both_ways_and_passes_ends_on() {
    let mut line = Line::new().await;
    line.say(b"hello").await;
    line.hear(b"hello").await;
    line.say(b"and good bye").await;
    line.client.shutdown().await.unwrap();
    assert_eq!(line.hear_out().await, (b"and good bye".to_vec(), None));
    let counts = line.relay.until(PATIENCE, |counts| counts.live == 0).await.unwrap();
    assert_eq!((counts.accepted, counts.cuts, counts.up, counts.down), (1, 0, 17, 17));
}

#[tokio::test]
async fn a_cut_ends_the_connections_that_live_as_it_says() {
    for (cut, end) in [(Cut::Reset, Some(ErrorKind::ConnectionReset)), (Cut::Finish, None)] {
        let mut line = Line::new().await;
        line.say(b"hello").await;
        line.hear(b"hello").await;
        line.relay.cut(cut);
        assert_eq!(line.hear_out().await, (vec![], end), "{cut:?}");
        line.client = TcpStream::connect(line.relay.address()).await.unwrap();
        line.say(b"again").await;
        line.hear(b"again").await;
        assert_eq!(line.relay.counts().accepted, 2);
    }
}

#[tokio::test]
async fn a_planned_cut_lets_exactly_so_many_bytes_through() {
    for cut in [Cut::Reset, Cut::Finish] {
        for after in [0, 1, 5, 9] {
            let (address, echo) = echo().await;
            let relay = Relay::start(address, 7).await.unwrap();
            relay.plan(Plan::At { way: Way::Down, after, cut });
            let client = TcpStream::connect(relay.address()).await.unwrap();
            let mut line = Line { relay, client, echo };
            line.client.write_all(b"0123456789").await.ok();
            let (heard, end) = line.hear_out().await;
            assert!(b"0123456789".starts_with(&heard), "{heard:?}");
            assert_eq!(end.is_some(), cut == Cut::Reset);
            let counts = line.relay.counts();
            assert_eq!((counts.down, counts.cuts), (after, 1));
            assert_eq!(u64::try_from(heard.len()).unwrap(), after, "{cut:?}");
        }
    }
}

#[tokio::test]
async fn silence_is_neither_bytes_nor_an_end_until_another_cut() {
    let mut line = Line::new().await;
    line.say(b"hello").await;
    line.hear(b"hello").await;
    line.relay.cut(Cut::Silence);
    line.say(b"anybody there?").await;
    assert!(line.hears_nothing().await);
    line.relay.cut(Cut::Reset);
    assert_eq!(line.hear_out().await.1, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_silent_connection_is_gone_once_both_ends_give_it_up() {
    let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let relay = Relay::start(target.local_addr().unwrap(), 7).await.unwrap();
    let near = TcpStream::connect(relay.address()).await.unwrap();
    let (mut far, _) = target.accept().await.unwrap();
    relay.cut(Cut::Silence);
    drop(near);
    assert!(timeout(MOMENT, far.read(&mut [0])).await.is_err(), "it does not learn of it");
    assert_eq!(relay.counts().live, 1);
    drop(far);
    relay.until(PATIENCE, |counts| counts.live == 0).await.unwrap();
}

#[tokio::test]
async fn what_is_frozen_comes_after_the_thaw() {
    for way in [Way::Up, Way::Down] {
        let mut line = Line::new().await;
        line.relay.freeze(way);
        line.say(b"hello").await;
        assert!(line.hears_nothing().await);
        line.relay.thaw();
        line.hear(b"hello").await;
    }
}

#[tokio::test]
async fn what_is_delayed_comes_no_sooner() {
    let mut line = Line::new().await;
    line.relay.delay(MOMENT);
    let start = Instant::now();
    line.say(b"hello").await;
    line.hear(b"hello").await;
    assert!(start.elapsed() >= MOMENT * 2, "once each way");
}

#[tokio::test]
async fn slices_change_no_byte() {
    let mut line = Line::new().await;
    line.relay.slice(Some(1..=7));
    let text: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    line.say(&text).await;
    line.hear(&text).await;
}

#[tokio::test]
async fn who_is_refused_hears_nothing_and_the_target_is_not_dialled() {
    let mut line = Line::new().await;
    line.say(b"hello").await;
    line.hear(b"hello").await;
    line.relay.plan(Plan::Refuse);
    line.client = TcpStream::connect(line.relay.address()).await.unwrap();
    let (heard, end) = line.hear_out().await;
    assert_eq!((heard, end), (vec![], Some(ErrorKind::ConnectionReset)));
    assert_eq!(line.relay.counts().cuts, 1);
}

#[tokio::test]
async fn a_seed_repeats_its_random_cuts() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (address, echo) = echo().await;
        let relay = Relay::start(address, 42).await.unwrap();
        relay.plan(Plan::Random { after: 1..1_000, cuts: vec![Cut::Finish, Cut::Reset] });
        let mut run = Vec::new();
        for cuts in 1..=8 {
            let mut client = TcpStream::connect(relay.address()).await.unwrap();
            client.write_all(&[7; 1_000]).await.ok();
            let counts = relay.until(PATIENCE, |counts| counts.cuts == cuts).await.unwrap();
            run.push(counts.up);
        }
        echo.abort();
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    runs[0].dedup();
    assert!(runs[0].len() > 4, "each time somewhere else");
}
