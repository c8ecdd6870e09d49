//! What is told of the certificate of somebody else: it never panics, and stays on its line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seam_certificates::Certificate;

fuzz_target!(|bytes: &[u8]| {
    let Some(certificate) = Certificate::read(bytes) else { return };
    let told = certificate.attributes().map(|(_, value)| value);
    for text in told.chain([certificate.identity(), certificate.issuer.clone()]) {
        assert!(!text.contains(char::is_control), "{text:?}");
    }
});
