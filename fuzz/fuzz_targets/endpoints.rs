//! The parameters of every transport without a broker: what is refused is refused in one line, and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seam::{Registry, Side};

thread_local! {
    static REGISTRY: Registry = seam::registry();
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for side in [Side::Client, Side::Server] {
        let checked = REGISTRY.with(|registry| registry.check(text, side));
        if let Err(error) = checked {
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }
});
