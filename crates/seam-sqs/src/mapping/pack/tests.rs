//! Packs, and what only looks like one.

use super::*;

fn attributes(sequence: Vec<u8>) -> Attributes {
    [(name::PACK.to_owned(), Attribute::Binary(sequence))].into()
}

#[test]
fn what_is_packed_is_unpacked_as_it_was() {
    let datagrams = [
        Datagram::new("12 apples").with_tag(7).with_key("customer-7").with_header("n", 2_u64),
        Datagram::new(""),
        Datagram::empty(),
        Datagram::new(&b"\xff\x00"[..]),
    ];
    let parts: Vec<_> = datagrams.iter().map(|datagram| packed(datagram.view())).collect();
    let message = pack(parts.iter().map(|part| &part[..]));
    assert_eq!(message.size, 16 + parts.iter().map(Bytes::len).sum::<usize>());
    assert_eq!((message.body.as_str(), message.attributes.len()), ("-", 1));
    let unpacked = unpack(&mut message.attributes.into_iter().collect()).unwrap();
    assert!(unpacked.iter().map(|(_, datagram)| datagram).eq(&datagrams));
    let again = unpacked.iter().map(|(part, _)| binary::decode(part).unwrap());
    assert!(again.eq(datagrams));
}

#[test]
fn what_is_no_pack_stays_what_it_was() {
    let whole = packed(Datagram::new("12 apples").view());
    let damaged = [&whole[..], &whole[..5]].concat();
    for sequence in [Vec::new(), b"hello".to_vec(), whole[..whole.len() - 1].to_vec(), damaged] {
        let mut attributes = attributes(sequence.clone());
        assert!(unpack(&mut attributes).is_none());
        assert_eq!(attributes, self::attributes(sequence));
    }
    let mut text: Attributes = [(name::PACK.to_owned(), Attribute::Text("x".into()))].into();
    assert!(unpack(&mut text).is_none());
}
