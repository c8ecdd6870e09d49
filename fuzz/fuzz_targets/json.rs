//! The JSON form of a datagram: what is read is written so that it reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seam_core::json;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(datagram) = json::decode(text) {
        let written = json::encode(datagram.view());
        assert_eq!(json::decode(&written).expect("what is written is read"), datagram);
    }
});
