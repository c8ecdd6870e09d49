//! The session under every fault, with a distributor above it: senders, pipes, receivers and a clock that a seed
//! drives, and the invariants of `docs/wire.md` after each command.
//!
//! `SEAM_SEED` chooses the seed and `SEAM_COMMANDS` the number of commands; a failure prints what to set to see
//! it again.

mod distributor;
mod member;
#[cfg(feature = "mutants")]
mod mutants;
mod pipe;
mod random;
mod world;

use world::World;

/// Rules that are broken here and not in the crate, to see that the invariants notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// The distributor sends elsewhere what a session that is only disconnected holds.
    ResendWhileResumable,
    /// After UNKNOWN the session's numbers go out again, beside what the distributor does.
    ResendAfterUnknown,
    /// A key goes to another session while one of it is in flight.
    KeyMoves,
    /// What waits for its delay is forgotten when its session is lost.
    DelayedForgotten,
    /// A connection is still read after another one took its session.
    OldReaderStays,
}

/// What happened in a world, so that nobody believes in a model that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lived {
    datagrams: u64,
    /// Delivered more than once: after a retry, or since a session was lost.
    repeated: u64,
    resumed: u64,
    lost_sessions: u64,
    ended_sessions: u64,
}

impl Lived {
    fn add(&mut self, other: &Self) {
        self.datagrams += other.datagrams;
        self.repeated += other.repeated;
        self.resumed += other.resumed;
        self.lost_sessions += other.lost_sessions;
        self.ended_sessions += other.ended_sessions;
    }
}

/// Commands in one life of a world, before it must come to rest.
const EPISODE: u64 = 2_000;

#[test]
fn every_invariant_holds_under_every_fault() {
    let seed = number("SEAM_SEED", 1);
    let commands = number("SEAM_COMMANDS", 1_000_000);
    let mut total = Lived::default();
    for episode in 0..commands.div_ceil(EPISODE) {
        match World::live(seed + episode, EPISODE, Broken::Nothing) {
            Ok(lived) => total.add(&lived),
            Err(failure) => {
                panic!("SEAM_SEED={} SEAM_COMMANDS={EPISODE}: {failure}", seed + episode)
            }
        }
    }
    println!("session_model seed {seed} commands {commands} lost 0 {total:?}");
    let Lived { datagrams, repeated, resumed, lost_sessions, ended_sessions } = total;
    let all = [datagrams, repeated, resumed, lost_sessions, ended_sessions];
    assert!(commands < 100_000 || all.iter().all(|count| *count > 0), "something never happens");
}

/// How many commands it takes until an invariant notices, from a fixed seed on.
#[cfg(feature = "mutants")]
fn noticed(broken: Broken, limit: u64) -> Option<String> {
    (0..limit / EPISODE).find_map(|episode| World::live(7 + episode, EPISODE, broken).err())
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}
