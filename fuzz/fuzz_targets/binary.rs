//! The binary form of datagrams, and sequences of them: what is read is written in the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seam_core::binary;

fuzz_target!(|bytes: &[u8]| {
    for part in binary::sequence(bytes).map_while(Result::ok) {
        check(part);
    }
    // Behind the checksum, which no input would hit by chance.
    check(&[bytes, &crc32fast::hash(bytes).to_be_bytes()].concat());
});

fn check(whole: &[u8]) {
    if let Ok(datagram) = binary::decode(whole) {
        let mut written = Vec::new();
        binary::encode(datagram.view(), &mut written);
        assert_eq!(written, whole, "a datagram has one form");
    }
}
