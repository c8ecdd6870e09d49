//! Published once more, and known again.

use super::*;

#[test]
fn once_more_all_that_is_a_message_stays() {
    let foreign =
        table([("key", long("k")), ("n", AMQPValue::ShortInt(-3)), ("seam-x", long("y"))])
            .with_content_type("text/plain".into())
            .with_content_encoding("gzip".into())
            .with_priority(9)
            .with_correlation_id("c".into())
            .with_reply_to("r".into())
            .with_message_id("i".into())
            .with_timestamp(u64::MAX)
            .with_type("t".into())
            .with_app_id("app".into())
            .with_cluster_id("cluster".into());
    let mut kept = foreign.headers().clone().unwrap();
    kept.insert("seam-attempt".into(), long_long(3));
    let expected = foreign.clone().with_headers(kept).with_delivery_mode(2);
    let came =
        foreign.with_delivery_mode(1).with_user_id("guest".into()).with_expiration("5".into());
    assert_eq!(again(&came, 3), expected);
    assert_eq!(again(&again(&came, 2), 3), expected);
}

#[test]
fn once_more_what_would_act_again_is_gone() {
    let properties = table([
        ("BCC", AMQPValue::FieldArray(vec![long("copies")].into())),
        ("CC", AMQPValue::FieldArray(vec![long("copies")].into())),
        ("seam-attempt", long_long(1)),
        ("seam-publish", long_long(1)),
        ("x-death", AMQPValue::FieldArray(vec![].into())),
        ("x-delay", AMQPValue::LongInt(5)),
        ("x-delivery-count", AMQPValue::LongInt(5)),
        ("x-first-death-queue", long("work")),
        ("x-opt-anything", AMQPValue::Void),
    ]);
    let expected = table([("seam-attempt", long_long(i64::from(u32::MAX)))]).with_delivery_mode(2);
    assert_eq!(again(&properties, u32::MAX), expected);
    assert_eq!(decoded(&expected).attempts, u32::MAX);
    let bare = again(&BasicProperties::default(), 0);
    assert_eq!(decoded(&bare).datagram, Datagram::new("body"));
}

#[test]
fn a_publisher_knows_its_own_again_and_no_other() {
    for datagram in [Datagram::new("x"), Datagram::new("x").with_header("a", 1_u64)] {
        for id in [0, 7, i64::MAX, i64::MIN] {
            let numbered = with_publish_id(encoded(&datagram), id);
            assert_eq!(publish_id(&numbered), Some(id));
            assert_eq!(decode(&numbered, Bytes::from("x"), "", "").datagram, datagram);
        }
        assert_eq!(publish_id(&encoded(&datagram)), None);
    }
    assert_eq!(publish_id(&table([("seam-publish", long("7"))])), None);
}
