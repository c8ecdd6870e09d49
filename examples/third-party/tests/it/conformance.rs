//! The public suite, on `channel://` and a virtual clock: no runtime is needed.

use seam_conformance::{Options, Subject};
use seam_core::{Registry, VirtualClock};
use third_party::Channel;

seam_conformance::conformance!(channel());

/// Each behaviour gets a transport of its own.
fn channel() -> Subject {
    let clock = VirtualClock::new();
    let registry = Registry::new().with(Channel::new()).with_clock(clock.clone());
    Subject::new(registry, "channel://suite", Options::new(move |run| clock.block_on(run)))
}
