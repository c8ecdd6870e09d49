//! The memory transport against a model of the contract: random commands, virtual time, and every future
//! polled by hand, so that each interleaving is one that can be repeated.

mod model;
mod world;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use world::World;

/// One thing that a program, its peers or time may do. Numbers pick among what is there.
#[derive(Clone, Debug)]
enum Command {
    Open { slot: usize, group: &'static str, credit: usize, credit_bytes: usize },
    DropReceiver { slot: usize },
    Abort { slot: usize },
    Drain { slot: usize, seconds: u64 },
    Receive { slot: usize, max: usize, verdicts: Vec<Verdict> },
    CancelReceive { slot: usize },
    Publish { slot: usize },
    Send { client: usize, messages: Vec<Draft> },
    CancelSend { pick: usize },
    Ask { pick: usize },
    CancelAsk { pick: usize },
    Withdraw { pick: usize },
    Settle { pick: usize, verdict: Verdict },
    Advance { millis: u64 },
    Step { pick: usize },
    Run,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    Ack,
    Discard,
    Retry {
        seconds: u64,
    },
    Drop,
    /// To be settled later, as an owned one.
    Keep,
}

/// A datagram to be sent; times are milliseconds from now.
#[derive(Clone, Debug)]
struct Draft {
    length: usize,
    key: Option<u8>,
    expiry: Option<u64>,
    deliver_at: Option<u64>,
}

const SLOTS: usize = 5;
const CLIENTS: usize = 3;

fn commands() -> impl Strategy<Value = Command> {
    let slot = || 0..SLOTS;
    let group = prop::sample::select(vec!["", "", "billing", "mail", "private"]);
    prop_oneof![
        4 => (slot(), group, 1..5_usize, 40..200_usize).prop_map(
            |(slot, group, credit, credit_bytes)| Command::Open { slot, group, credit, credit_bytes }
        ),
        1 => slot().prop_map(|slot| Command::DropReceiver { slot }),
        1 => slot().prop_map(|slot| Command::Abort { slot }),
        1 => (slot(), 0..4_u64).prop_map(|(slot, seconds)| Command::Drain { slot, seconds }),
        8 => (slot(), 1..6_usize, vec(verdicts(), 1..4)).prop_map(|(slot, max, verdicts)| {
            Command::Receive { slot, max, verdicts }
        }),
        1 => slot().prop_map(|slot| Command::CancelReceive { slot }),
        1 => slot().prop_map(|slot| Command::Publish { slot }),
        8 => (0..CLIENTS, vec(drafts(), 1..7)).prop_map(|(client, messages)| {
            Command::Send { client, messages }
        }),
        1 => any::<usize>().prop_map(|pick| Command::CancelSend { pick }),
        4 => any::<usize>().prop_map(|pick| Command::Ask { pick }),
        1 => any::<usize>().prop_map(|pick| Command::CancelAsk { pick }),
        1 => any::<usize>().prop_map(|pick| Command::Withdraw { pick }),
        8 => (any::<usize>(), verdicts()).prop_map(|(pick, verdict)| {
            Command::Settle { pick, verdict }
        }),
        3 => (1..4_000_u64).prop_map(|millis| Command::Advance { millis }),
        6 => any::<usize>().prop_map(|pick| Command::Step { pick }),
        8 => Just(Command::Run),
    ]
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        5 => Just(Verdict::Ack),
        1 => Just(Verdict::Discard),
        2 => (0..4_u64).prop_map(|seconds| Verdict::Retry { seconds }),
        1 => Just(Verdict::Drop),
        5 => Just(Verdict::Keep),
    ]
}

fn drafts() -> impl Strategy<Value = Draft> {
    let later = || prop_oneof![5 => Just(None), 1 => option::of(1..5_000_u64)];
    (4..70_usize, option::of(0..3_u8), later(), later())
        .prop_map(|(length, key, expiry, deliver_at)| Draft { length, key, expiry, deliver_at })
}

proptest! {
    #[test]
    fn memory_keeps_the_contract_whatever_happens(commands in vec(commands(), 1..120)) {
        let mut world = World::new();
        for command in commands {
            world.execute(command);
        }
        world.finish();
    }
}
