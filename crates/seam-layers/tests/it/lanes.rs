//! One behaviour of the lanes each.

use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{join, join3, select};
use seam_core::{
    Clock, Connection, Datagram, Error, Memory, Receiver, Registry, Sender, Verdict, VirtualClock,
};
use seam_layers::{Exponential, Job, Stop, lanes};

use crate::ledger::{Ledger, number_of};

const SECOND: Duration = Duration::from_secs(1);

/// Both ends of an address, in virtual time.
struct Bench {
    clock: VirtualClock,
    registry: Registry,
    server: Connection,
    receiver: Receiver,
    sender: Sender,
}

fn run<F: Future>(parameters: &str, test: impl FnOnce(Bench) -> F) -> F::Output {
    let clock = VirtualClock::new();
    clock.clone().block_on(async {
        let registry = Registry::new().with(Memory::new()).with_clock(clock.clone());
        let server =
            registry.server(format!("memory://orders{parameters}").as_str()).await.unwrap();
        let receiver = server.receiver().await.unwrap();
        let sender = registry.sender("memory://orders").await.unwrap();
        test(Bench { clock, registry, server, receiver, sender }).await
    })
}

fn numbered(number: u64) -> Datagram {
    Datagram::new(number.to_be_bytes().to_vec())
}

async fn send(sender: &Sender, keys: &[&'static str]) {
    for (number, key) in (0..).zip(keys) {
        let datagram = numbered(number);
        let datagram = if key.is_empty() { datagram } else { datagram.with_key(*key) };
        sender.send(datagram).await.unwrap();
    }
}

fn fixed(seconds: u64) -> Exponential {
    Exponential::new(Duration::from_secs(seconds)).with_factor(1.0).without_jitter()
}

#[test]
fn keys_run_beside_each_other_and_each_in_order() {
    run("", |Bench { clock, server, receiver, sender, .. }| async move {
        send(&sender, &["a", "a", "b", "", "b", "", "c"]).await;
        let ledger = Ledger::default();
        let worker = lanes(16).run(receiver, |job: Job| {
            let entry = ledger.begin(0, &job);
            let clock = clock.clone();
            async move {
                clock.sleep(SECOND).await;
                drop(entry);
            }
        });
        let drain = async {
            clock.sleep(Duration::from_millis(1)).await;
            server.drain(60 * SECOND).await
        };
        let (summary, drained) = join(worker, drain).await;
        assert!(drained.unwrap().is_clean());
        assert_eq!(summary.unwrap().acked, 7);
        assert_eq!(ledger.book().peak, 5, "three keys and two without");
        ledger.check_order_across_retries();
        assert_eq!(clock.now(), 2 * SECOND);
    });
}

#[test]
fn concurrency_is_a_bound() {
    run("", |Bench { clock, server, receiver, sender, .. }| async move {
        send(&sender, &[""; 10]).await;
        let ledger = Ledger::default();
        let worker = lanes(3).run(receiver, |job: Job| {
            let entry = ledger.begin(0, &job);
            let sleep = clock.sleep(SECOND);
            async move {
                sleep.await;
                drop(entry);
            }
        });
        let drain = async {
            clock.sleep(10 * SECOND).await;
            server.drain(SECOND).await
        };
        let (summary, _) = join(worker, drain).await;
        assert_eq!((summary.unwrap().acked, ledger.book().peak), (10, 3));
    });
}

#[test]
fn a_retry_holds_its_key_and_nothing_else() {
    run("", |Bench { clock, server, receiver, sender, .. }| async move {
        send(&sender, &["a", "a", "b"]).await;
        let log = std::sync::Mutex::new(Vec::new());
        let worker = lanes(1).with_retry(fixed(5)).run(receiver, |job: Job| {
            let second = clock.now().as_secs();
            log.lock().unwrap().push((number_of(&job), job.attempt(), second));
            async move {
                if number_of(&job) == 0 && job.attempt() < 3 { Err("not yet") } else { Ok(()) }
            }
        });
        let drain = async {
            clock.sleep(60 * SECOND).await;
            server.drain(SECOND).await
        };
        let (summary, _) = join(worker, drain).await;
        let summary = summary.unwrap();
        assert_eq!((summary.acked, summary.retried, summary.handed_back), (3, 2, 0));
        let expected = [(0, 1, 0), (2, 1, 0), (0, 2, 5), (0, 3, 10), (1, 1, 10)];
        assert_eq!(*log.lock().unwrap(), expected);
        assert_eq!(server.statistics().redelivered, 0, "the retries were made here");
    });
}

#[test]
fn without_a_key_a_retry_goes_back_to_the_source() {
    run("", |Bench { clock, server, receiver, sender, .. }| async move {
        send(&sender, &["", ""]).await;
        let ledger = Ledger::default();
        let worker = lanes(4).with_retry(fixed(5)).run(receiver, |job: Job| {
            drop(ledger.begin(0, &job));
            async move { if job.attempt() < 3 { Err("not yet") } else { Ok(()) } }
        });
        let drain = async {
            clock.sleep(60 * SECOND).await;
            server.drain(SECOND).await
        };
        let (summary, _) = join(worker, drain).await;
        let summary = summary.unwrap();
        assert_eq!((summary.acked, summary.retried, summary.handed_back), (2, 0, 4));
        assert!(ledger.book().attempts.values().all(|attempts| *attempts == [1, 2, 3]));
        assert_eq!(server.statistics().redelivered, 4);
    });
}

#[test]
fn a_panic_is_a_failure_and_no_more() {
    run("", |Bench { clock, server, receiver, sender, .. }| async move {
        send(&sender, &["a", "", "a"]).await;
        let worker = lanes(4).with_retry(fixed(1)).run(receiver, |job: Job| {
            assert!(job.attempt() > 1 || job.view().key().is_some(), "before the first await");
            let sleep = clock.sleep(SECOND);
            async move {
                sleep.await;
                assert!(job.attempt() > 1, "after an await");
            }
        });
        let drain = async {
            clock.sleep(60 * SECOND).await;
            server.drain(SECOND).await
        };
        let (summary, _) = join(worker, drain).await;
        let summary = summary.unwrap();
        assert_eq!((summary.handled, summary.panicked, summary.acked), (6, 3, 3));
    });
}

#[test]
fn verdicts_of_the_handler_are_carried_out() {
    run("", |Bench { clock, server, receiver, sender, .. }| async move {
        send(&sender, &["a", "b", "c"]).await;
        let worker = lanes(4).run(receiver, |job: Job| async move {
            match (number_of(&job), job.attempt()) {
                (0, _) => Verdict::Discard,
                (1, 1) => Verdict::Retry { after: 7 * SECOND },
                _ => Verdict::Ack,
            }
        });
        let drain = async {
            clock.sleep(60 * SECOND).await;
            server.drain(SECOND).await
        };
        let (summary, _) = join(worker, drain).await;
        let summary = summary.unwrap();
        assert_eq!((summary.acked, summary.discarded, summary.retried), (2, 1, 1));
    });
}

#[test]
fn the_backlog_bounds_what_is_held() {
    run("", |Bench { server, receiver, sender, .. }| async move {
        send(&sender, &["a"; 50]).await;
        let stop = Stop::new();
        let seen = AtomicBool::new(false);
        let worker = lanes(4).with_backlog(7).with_stop(stop.clone()).run(receiver, |_: Job| {
            if !seen.swap(true, Ordering::SeqCst) {
                // What was taken before the first handler began, and nothing since.
                assert!(server.statistics().delivered <= 7);
                stop.stop();
            }
            std::future::ready(())
        });
        assert_eq!(worker.await.unwrap().acked, 7);
    });
}

#[test]
fn a_stop_finishes_what_is_held_and_hands_back_what_waits() {
    run("", |Bench { clock, registry, receiver, sender, .. }| async move {
        send(&sender, &["a", "a", "b", "b"]).await;
        let stop = Stop::new();
        let worker =
            lanes(4).with_retry(fixed(60)).with_stop(stop.clone()).run(receiver, |job: Job| {
                let sleep = clock.sleep(2 * SECOND);
                async move {
                    if job.view().key() == Some(b"a") {
                        return Err("not yet");
                    }
                    sleep.await;
                    Ok(())
                }
            });
        let stopping = async {
            clock.sleep(SECOND).await;
            stop.stop();
        };
        let (summary, ()) = join(worker, stopping).await;
        let summary = summary.unwrap();
        assert_eq!((summary.acked, summary.handed_back), (2, 2));
        assert_eq!(clock.now(), 4 * SECOND, "the delay is not waited for");
        let mut next = registry.receiver("memory://orders").await.unwrap();
        for number in 0..2 {
            let delivery = next.next().await.unwrap().unwrap();
            assert_eq!(number_of(delivery.datagram()), number);
            delivery.ack().unwrap();
        }
    });
}

#[test]
fn a_revoked_delivery_gets_no_verdict_and_its_handler_is_told() {
    run("", |Bench { clock, registry, server, receiver, sender }| async move {
        send(&sender, &["a", "a", ""]).await;
        let told = AtomicBool::new(false);
        let told = &told;
        let worker = lanes(4).with_grace(SECOND).run(receiver, |job: Job| async move {
            assert!(job.is_current());
            if job.view().key().is_none() {
                return pending().await;
            }
            job.revoked().await;
            assert!(!job.is_current());
            told.store(true, Ordering::SeqCst);
        });
        let drain = async {
            clock.sleep(SECOND).await;
            server.drain(SECOND).await.unwrap()
        };
        let (summary, drained) = join(worker, drain).await;
        let summary = summary.unwrap();
        assert_eq!((summary.revoked, summary.acked, drained.unsettled), (3, 0, 3));
        assert!(told.load(Ordering::SeqCst));
        let mut next = registry.receiver("memory://orders").await.unwrap();
        for _ in 0..3 {
            let delivery = next.next().await.unwrap().unwrap();
            assert_eq!(delivery.note().attempt, 2);
            delivery.ack().unwrap();
        }
    });
}

#[test]
fn dropping_the_pool_loses_nothing() {
    run("", |Bench { clock, registry, receiver, sender, .. }| async move {
        send(&sender, &["a", "a", "", "b"]).await;
        let worker = lanes(2).with_retry(fixed(60)).run(receiver, |job: Job| async move {
            if job.view().key() == Some(b"b") {
                Err("not yet")
            } else {
                pending::<Result<(), _>>().await
            }
        });
        let patience = clock.sleep(SECOND);
        select(std::pin::pin!(worker), patience).await;
        let mut next = registry.receiver("memory://orders").await.unwrap();
        for number in 0..4 {
            let delivery = next.next().await.unwrap().unwrap();
            assert_eq!(number_of(delivery.datagram()), number);
            delivery.ack().unwrap();
        }
    });
}

#[test]
fn what_expires_while_it_waits_is_never_handled() {
    run("", |Bench { clock, server, receiver, sender, .. }| async move {
        let expiry = clock.wall().saturating_add(SECOND);
        sender.send(numbered(0).with_key("a")).await.unwrap();
        sender.send(numbered(1).with_key("a").with_expiry(expiry)).await.unwrap();
        let worker = lanes(2).run(receiver, |job: Job| {
            assert_eq!(number_of(&job), 0);
            clock.sleep(2 * SECOND)
        });
        let drain = async {
            clock.sleep(SECOND).await;
            server.drain(60 * SECOND).await
        };
        let (summary, drained) = join(worker, drain).await;
        let summary = summary.unwrap();
        assert_eq!((summary.acked, summary.expired), (1, 1));
        assert!(drained.unwrap().is_clean());
    });
}

#[test]
fn a_policy_that_gives_up_needs_somewhere_to_give_up_to() {
    run("", |Bench { receiver, .. }| async move {
        let worker = lanes(2).with_retry(fixed(1).with_limit(3));
        let refused = worker.run(receiver, async |_: Job| {}).await;
        assert!(matches!(refused, Err(Error::Misuse { .. })), "{refused:?}");
    });
}

#[test]
fn several_pools_share_an_address_and_keep_its_keys() {
    run("", |Bench { clock, server, receiver, sender, .. }| async move {
        let second = server.receiver().await.unwrap();
        send(&sender, &["a", "b", "a", "b", "a", "b", "a", "b"]).await;
        let ledger = Ledger::default();
        let handler = |job: Job| {
            let entry = ledger.begin(0, &job);
            let sleep = clock.sleep(SECOND);
            async move {
                sleep.await;
                drop(entry);
                if job.attempt() < 2 { Err("once more") } else { Ok(()) }
            }
        };
        let (one, two) = (lanes(2).with_retry(fixed(1)), lanes(2).with_retry(fixed(1)));
        let drain = async {
            clock.sleep(60 * SECOND).await;
            server.drain(SECOND).await
        };
        let (one, two, drained) =
            join3(one.run(receiver, handler), two.run(second, handler), drain).await;
        assert_eq!(one.unwrap().acked + two.unwrap().acked, 8);
        assert!(drained.unwrap().is_clean());
        ledger.check_order_across_retries();
    });
}

#[test]
fn a_pool_can_be_spawned() {
    fn spawnable(
        _: impl Future<Output = seam_core::Result<seam_layers::Summary>> + Send + 'static,
    ) {
    }
    run("", |Bench { receiver, .. }| async move {
        spawnable(lanes(2).run(receiver, async |job: Job| job.revoked().await));
    });
}
