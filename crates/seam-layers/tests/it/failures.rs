//! Pools under random failures: whatever handlers do, nothing is lost, and keys keep their order.

use std::time::Duration;

use futures_util::future::{join, join_all};
use proptest::prelude::*;
use seam_core::{Clock, Datagram, Memory, Registry, Verdict, VirtualClock, dead_letter};
use seam_layers::{DeadLetter, Exponential, Job, Lanes, lanes};

use crate::ledger::{Ledger, number_of};

/// What a handler does with one attempt.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Finish,
    Fail,
    Panic,
    PanicAtOnce,
    Retry(u64),
    Discard,
    DeadLetter,
}

#[derive(Clone, Debug)]
struct Plan {
    /// The key of each datagram; none for 0.
    keys: Vec<u8>,
    /// What is done with each attempt, in turn.
    deeds: Vec<(Deed, u64)>,
    concurrency: usize,
    backlog: usize,
    pools: usize,
    seed: u64,
    /// When the first connection is drained, and how long it may take.
    drain: (u64, u64),
}

const LIMIT: u32 = 4;

fn plan() -> impl Strategy<Value = Plan> {
    let deed = prop_oneof![
        4 => Just(Deed::Finish),
        3 => Just(Deed::Fail),
        1 => Just(Deed::Panic),
        1 => Just(Deed::PanicAtOnce),
        1 => (0u64..3000).prop_map(Deed::Retry),
        1 => Just(Deed::Discard),
        1 => Just(Deed::DeadLetter),
    ];
    let deeds = prop::collection::vec((deed, 0u64..500), 1..60);
    let keys = prop::collection::vec(0u8..5, 1..60);
    let sizes = (1usize..6, 1usize..20, 1usize..4, any::<u64>(), (0u64..5000, 0u64..3000));
    (keys, deeds, sizes).prop_map(|(keys, deeds, (concurrency, backlog, pools, seed, drain))| {
        Plan { keys, deeds, concurrency, backlog, pools, seed, drain }
    })
}

impl Plan {
    /// The deed for one attempt: the same whenever it is asked.
    fn deed(&self, number: u64, attempt: u32) -> (Deed, u64) {
        let at = number.wrapping_mul(7).wrapping_add(u64::from(attempt).wrapping_mul(31));
        let (deed, nap) = self.deeds[usize::try_from(at).unwrap() % self.deeds.len()];
        // What is retried by hand would go on for ever without an end of the plan.
        match deed {
            Deed::Retry(_) if attempt > LIMIT => (Deed::Finish, nap),
            deed => (deed, nap),
        }
    }

    fn pool(&self, letters: DeadLetter) -> Lanes {
        let policy =
            Exponential::new(Duration::from_millis(100)).with_limit(LIMIT).with_seed(self.seed);
        lanes(self.concurrency)
            .with_backlog(self.backlog)
            .with_retry(policy)
            .with_dead_letter(letters)
    }

    async fn handle(
        &self,
        pool: usize,
        job: Job,
        ledger: &Ledger,
        clock: &VirtualClock,
    ) -> Result<Verdict, &'static str> {
        let entry = ledger.begin(pool, &job);
        let (deed, nap) = self.deed(number_of(&job), job.attempt());
        clock.sleep(Duration::from_millis(nap)).await;
        drop(entry);
        match deed {
            Deed::Finish => Ok(Verdict::Ack),
            Deed::Fail => Err("failed"),
            Deed::Panic => std::panic::resume_unwind(Box::new("panicked")),
            Deed::PanicAtOnce => unreachable!("it has panicked before"),
            Deed::Retry(millis) => Ok(Verdict::Retry { after: Duration::from_millis(millis) }),
            Deed::Discard => Ok(Verdict::Discard),
            Deed::DeadLetter => Ok(Verdict::DeadLetter { reason: "broken".into() }),
        }
    }

    async fn run(&self, clock: &VirtualClock) {
        let registry = Registry::new().with(Memory::new()).with_clock(clock.clone());
        let mut parked = registry.receiver("memory://parked").await.unwrap();
        let first = registry.server("memory://orders").await.unwrap();
        let sender = registry.client("memory://orders").await.unwrap();
        let mut receivers = vec![first.receiver().await.unwrap()];
        self.send(&sender.sender().await.unwrap()).await;
        let second = registry.server("memory://orders").await.unwrap();
        for _ in 1..self.pools {
            receivers.push(second.receiver().await.unwrap());
        }
        let ledger = Ledger::default();
        let pools = async {
            let mut pools = Vec::new();
            for (pool, receiver) in receivers.into_iter().enumerate() {
                pools.push(self.serve(&registry, pool, receiver, &ledger, clock).await);
            }
            let (_, _) = join(join_all(pools), async {
                clock.sleep(Duration::from_millis(self.drain.0)).await;
                drop(first.drain(Duration::from_millis(self.drain.1)).await.unwrap());
                // Whatever the first one left is finished by one that lives long enough.
                let rest = second.receiver().await.unwrap();
                let rest = self.serve(&registry, self.pools, rest, &ledger, clock).await;
                let end = async {
                    clock.sleep(Duration::from_secs(3600)).await;
                    assert!(second.drain(Duration::from_secs(3600)).await.unwrap().is_clean());
                };
                join(rest, end).await
            })
            .await;
        };
        pools.await;
        // Everything that was admitted is done: nothing was lost.
        assert!(sender.drain(Duration::ZERO).await.unwrap().is_clean());
        let letters = self.letters(&mut parked, clock).await;
        self.check(&ledger, &letters);
    }

    async fn serve<'a>(
        &'a self,
        registry: &Registry,
        pool: usize,
        receiver: seam_core::Receiver,
        ledger: &'a Ledger,
        clock: &'a VirtualClock,
    ) -> impl Future<Output = ()> + 'a {
        let letters = registry.sender("memory://parked").await.unwrap();
        let letters = DeadLetter::new(letters, receiver.endpoint());
        let running = self.pool(letters).run(receiver, move |job: Job| {
            if let (Deed::PanicAtOnce, _) = self.deed(number_of(&job), job.attempt()) {
                drop(ledger.begin(pool, &job));
                std::panic::resume_unwind(Box::new("panicked at once"));
            }
            self.handle(pool, job, ledger, clock)
        });
        async move {
            running.await.unwrap();
        }
    }

    async fn send(&self, sender: &seam_core::Sender) {
        for (number, key) in (0u64..).zip(&self.keys) {
            let datagram = Datagram::new(number.to_be_bytes().to_vec());
            let datagram = if *key == 0 { datagram } else { datagram.with_key(vec![*key]) };
            sender.send(datagram).await.unwrap();
        }
    }

    /// The number and the attempts of each dead letter.
    async fn letters(
        &self,
        parked: &mut seam_core::Receiver,
        clock: &VirtualClock,
    ) -> Vec<(u64, u32)> {
        let mut letters = Vec::new();
        let until = clock.now() + Duration::from_secs(1);
        while let Some(letter) = seam_core::clock::deadline(clock, until, parked.next()).await {
            let letter = letter.unwrap().unwrap();
            let attempts = match letter.view().header(dead_letter::ATTEMPTS) {
                Some(seam_core::Value::U64(attempts)) => u32::try_from(*attempts).unwrap(),
                other => panic!("{other:?}"),
            };
            assert_eq!(letter.view().header(dead_letter::ORIGIN), Some(&"memory://orders".into()));
            letters.push((number_of(letter.datagram()), attempts));
            letter.ack().unwrap();
        }
        letters
    }

    fn check(&self, ledger: &Ledger, letters: &[(u64, u32)]) {
        let book = ledger.book();
        for number in (0u64..).zip(&self.keys).map(|(number, _)| number) {
            let attempts = book.attempts.get(&number).cloned().unwrap_or_default();
            assert!(!attempts.is_empty(), "{number} was never handled");
            // A pool that takes over goes by the source's count: that counts, once, what was handed back
            // before it began, and not the other's own retries.
            let follows = attempts.windows(2).all(|two| two[1] <= two[0] + 2);
            assert!(attempts[0] <= 2 && follows, "{number} was tried as {attempts:?}");
            let last = *attempts.last().unwrap();
            let dead = match self.deed(number, last).0 {
                Deed::DeadLetter => true,
                Deed::Fail | Deed::Panic | Deed::PanicAtOnce => last >= LIMIT,
                _ => false,
            };
            let letters: Vec<u32> = letters
                .iter()
                .filter(|(n, _)| *n == number)
                .map(|(_, attempts)| *attempts)
                .collect();
            // A drain that came between letter and ack repeats the letter; it never loses it.
            assert_eq!(
                dead,
                letters.contains(&last),
                "{number}: {attempts:?} and letters {letters:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_handlers_do_nothing_is_lost(plan in plan()) {
        let clock = VirtualClock::new();
        clock.block_on(plan.run(&clock));
    }

    #[test]
    fn one_pool_keeps_each_key_in_order_across_retries(mut plan in plan()) {
        // Never drained before it is done, so nothing is handed back.
        (plan.pools, plan.drain) = (1, (3_600_000, 3_600_000));
        let clock = VirtualClock::new();
        let ledger = Ledger::default();
        clock.block_on(async {
            let registry = Registry::new().with(Memory::new()).with_clock(clock.clone());
            let _parked = registry.receiver("memory://parked").await.unwrap();
            let server = registry.server("memory://orders").await.unwrap();
            let receiver = server.receiver().await.unwrap();
            plan.send(&registry.sender("memory://orders").await.unwrap()).await;
            let pool = plan.serve(&registry, 0, receiver, &ledger, &clock).await;
            let drain = async {
                clock.sleep(Duration::from_millis(plan.drain.0)).await;
                assert!(server.drain(Duration::from_secs(3600)).await.unwrap().is_clean());
            };
            join(pool, drain).await;
        });
        ledger.check_order_across_retries();
        for (number, key) in (0u64..).zip(&plan.keys) {
            let attempts = &ledger.book().attempts[&number];
            let expected: Vec<u32> = (1..).take(attempts.len()).collect();
            prop_assert_eq!(attempts, &expected, "{} of key {}", number, key);
        }
    }
}
