//! The same small program under every kind of runtime: nothing in the crate knows which.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join;
use seam_core::{
    Clock, Datagram, Memory, Receiver, Registry, Result, Sleep, SystemClock, Timestamp,
    VirtualClock,
};

const LONG: Duration = Duration::from_secs(60);

/// Two groups that each get everything, a delayed retry, requests, a dialog, and a graceful end.
async fn program(registry: Registry) -> Result<()> {
    let billing = registry.server("memory://orders?group=billing").await?;
    let mail = registry.server("memory://orders?group=mail").await?;
    let (receives, mails) = (billing.receiver().await?, mail.receiver().await?);
    let client = registry.client("memory://orders").await?;
    let mut sender = client.sender().await?;
    for number in 0..100_u8 {
        sender.feed(Datagram::new(vec![number])).await?;
    }
    let work = join(settle(receives, 100), settle(mails, 100));
    let (sent, (billed, mailed)) = join(sender.flush(), work).await;
    assert_eq!((sent.unwrap(), billed?, mailed?), (100, 101, 101));
    ask(&registry).await?;
    talk(&registry).await?;
    for connection in [client, billing, mail] {
        assert!(connection.drain(LONG).await?.is_clean());
    }
    Ok(())
}

/// Acknowledges `count` datagrams, the first only after a retry; how many deliveries that took.
async fn settle(mut receiver: Receiver, count: u32) -> Result<u32> {
    let (mut settled, mut deliveries) = (0, 0);
    while settled < count {
        let Some(delivery) = receiver.next().await? else { break };
        deliveries += 1;
        if deliveries == 1 {
            delivery.retry(Duration::from_millis(20))?;
        } else {
            delivery.ack()?;
            settled += 1;
        }
    }
    Ok(deliveries)
}

async fn ask(registry: &Registry) -> Result<()> {
    let mut server = registry.receiver("memory://sum").await?;
    let client = registry.client("memory://sum").await?;
    let serve = async {
        for _ in 0..2 {
            let Some(request) = server.next().await? else { break };
            let doubled = request.datagram().payload().unwrap_or_default().repeat(2);
            request.reply(Datagram::new(doubled)).await?;
        }
        Ok(())
    };
    let ask = |word: &'static str| client.request(Datagram::new(word), LONG);
    let (served, (one, two)) = join(serve, join(ask("a"), ask("b"))).await;
    assert_eq!((one?.payload(), two?.payload()), (Some(&b"aa"[..]), Some(&b"bb"[..])));
    served
}

async fn talk(registry: &Registry) -> Result<()> {
    let listener = registry.server("memory://chat").await?;
    let guest = registry.client("memory://chat").await?;
    let (guest_in, guest_out) = (guest.receiver().await?, guest.sender().await?);
    let host = async {
        let peer = listener.accept().await?.expect("it listens");
        let hello = peer.receiver().await?.next().await?.expect("the guest speaks first");
        peer.sender().await?.send(hello.datagram().clone()).await?;
        hello.ack()?;
        peer.drain(LONG).await
    };
    let guest = async {
        guest_out.send(Datagram::new("hello")).await?;
        let mut guest_in = guest_in;
        let echo = guest_in.next().await?.expect("the host answers");
        assert_eq!(echo.datagram().payload(), Some(&b"hello"[..]));
        echo.ack()?;
        assert!(guest_in.next().await?.is_none(), "the host has departed");
        Ok(())
    };
    let (host, guest) = join(host, guest).await;
    assert!(host?.is_clean());
    guest
}

/// A clock on the timers of whichever runtime `sleep` knows.
#[derive(Clone)]
struct RuntimeClock {
    origin: Instant,
    sleep: fn(Duration) -> Sleep,
}

impl RuntimeClock {
    fn new(sleep: fn(Duration) -> Sleep) -> Self {
        Self { origin: Instant::now(), sleep }
    }
}

impl fmt::Debug for RuntimeClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RuntimeClock")
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap()).unwrap()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        (self.sleep)(duration)
    }
}

fn registry(clock: impl Clock) -> Registry {
    Registry::new().with(Memory::new()).with_clock(clock)
}

#[test]
fn the_program_runs_under_tokio() {
    let clock = RuntimeClock::new(|duration| Box::pin(tokio::time::sleep(duration)));
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(4).enable_time().build().unwrap();
    runtime.block_on(async { tokio::spawn(program(registry(clock))).await.unwrap() }).unwrap();
}

#[test]
fn the_program_runs_under_smol() {
    let clock = RuntimeClock::new(|duration| {
        Box::pin(async move {
            async_io::Timer::after(duration).await;
        })
    });
    smol::block_on(async { smol::spawn(program(registry(clock))).await }).unwrap();
}

#[test]
fn the_program_runs_without_a_runtime() {
    smol::block_on(program(registry(SystemClock::new()))).unwrap();
}

#[test]
fn the_program_runs_under_virtual_time() {
    let clock = VirtualClock::new();
    clock.block_on(program(registry(clock.clone()))).unwrap();
}

#[test]
fn a_sleep_outlives_the_clock_that_made_it() {
    let sleep = SystemClock::new().sleep(Duration::from_millis(30));
    let before = Instant::now();
    smol::block_on(sleep);
    assert!(before.elapsed() >= Duration::from_millis(25), "it did not sleep");
}
