//! Headers of both versions and every frame: what is read is written exactly so.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seam_wire::{Frame, Header, header, plain};

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(read)) = header(bytes, 1 << 20) else { return };
    if read.version == plain::VERSION {
        if let Ok(Some(datagram)) = plain::parse(bytes, 1 << 20) {
            let header = plain::header(datagram.tag, datagram.payload.len()).expect("it was read");
            assert_eq!([&header[..], datagram.payload].concat(), bytes[..datagram.size()]);
        }
        return;
    }
    // Bodies come whole from their reader, so the claimed length is that of the input.
    let body = &bytes[Header::SIZE..];
    if let Ok(frame) = Frame::decode(read.kind, body) {
        let mut written = Vec::new();
        frame.encode(read.channel, &mut written);
        assert_eq!(&written[Header::SIZE..], body);
        assert_eq!(written[6..8], bytes[6..8]);
    }
});
