//! Rules broken on purpose, so that tests can prove that they would notice.

/// Whether the running test breaks this rule. Without the feature `mutants` it is the constant `false`.
#[cfg(not(feature = "mutants"))]
macro_rules! mutant {
    ($name:ident) => {
        false
    };
}

#[cfg(feature = "mutants")]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutant::is($crate::mutant::Mutant::$name)
    };
}

/// Each rule that can be broken.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// WELCOME tells `settled` alone, without the records.
    WelcomeWithoutRecords,
    /// A record is forgotten once it was told, not once it was seen.
    RecordForgottenWhenTold,
    /// What an earlier connection was told counts as told.
    ToldKeptAcrossConnections,
    /// PING says that all that was admitted is processed.
    SeenIsNext,
    /// PING with `seen` is never due.
    SeenNeverSent,
    /// A released number holds the watermark.
    ReleasedHoldsSettled,
    /// A released datagram is sent once more under its old number.
    ResendUnderOldNumber,
    /// An outcome that was told early is handed on again later.
    OutcomeAppliedTwice,
    /// A lost session gives back what is known to be done.
    KnownGivenBack,
    /// A number has its outcome on receipt.
    AckOnReceipt,
    /// A resume begins at `acked`, and the receiver takes what it had before.
    ResumeWithoutDedup,
    /// A resume of an unknown session creates it.
    ImplicitCreation,
    /// Neither epoch nor owner is compared.
    NoFencing,
    /// A number is written with few bits.
    NarrowNumber,
    /// Credit in bytes is not looked at.
    CountOnly,
    /// FIN goes out before everything has its outcome.
    FinBeforeAcked,
}

#[cfg(feature = "mutants")]
thread_local! {
    static CURRENT: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

#[cfg(feature = "mutants")]
pub(crate) fn is(mutant: Mutant) -> bool {
    CURRENT.get() == Some(mutant)
}

/// Runs `test` on this thread with one rule broken.
#[cfg(feature = "mutants")]
pub fn with_mutant<T>(mutant: Mutant, test: impl FnOnce() -> T) -> T {
    struct Restore;
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(None);
        }
    }
    CURRENT.set(Some(mutant));
    let _restore = Restore;
    test()
}
