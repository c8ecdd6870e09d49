//! What SQS takes as text.

/// Whether SQS takes it as a body or as the value of an attribute: not empty, and nothing that XML forbids.
pub(super) fn is_legal(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_legal_char)
}

fn is_legal_char(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        _ => c >= ' ',
    }
}

/// The bytes as text that SQS takes.
pub(super) fn legal(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| is_legal(text))
}
