//! What a difference that the broker reports comes to, in its own words.

use super::*;

/// What RabbitMQ says of the queue `orders`, from 3.10 and 4.0 alike unless said otherwise.
fn says(argument: &str, difference: &str) -> Difference {
    let said = format!(
        "PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'orders' in vhost '/': {difference}"
    );
    Difference::read(&said).unwrap()
}

fn topology(more: &str) -> Arc<Topology> {
    let uri = format!("rabbitmq://h/orders?credit=9&{more}").trim_end_matches('&').parse().unwrap();
    let scheme = crate::config::SCHEMES.iter().find(|scheme| scheme.name == "rabbitmq").unwrap();
    let endpoint = seam_core::Endpoint::resolve(&uri, scheme).unwrap();
    Topology::new(Arc::new(Config::new(&endpoint).unwrap()), "rabbitmq://h/orders".to_owned())
}

#[track_caller]
fn check_counts(more: &str, difference: Difference) {
    let found = adapted(&topology(more).arguments(), &difference);
    assert!(found.is_none(), "{difference:?} is let pass: {found:?}");
    assert!(matches!(difference.error(), Error::Mismatch { .. }));
}

/// The arguments that are tried next.
#[track_caller]
fn next(arguments: &FieldTable, argument: &str, difference: &str) -> FieldTable {
    adapted(arguments, &says(argument, difference)).expect("this does not count")
}

#[test]
fn another_type_counts() {
    check_counts("", says("x-queue-type", "received 'quorum' but current is 'classic'"));
    // 3.10, of a queue that was declared without a type.
    let typed = "received the value 'quorum' of type 'longstr' but current is none";
    check_counts("", says("x-queue-type", typed));
    check_counts(
        "queue_type=classic",
        says("x-queue-type", "received 'classic' but current is 'quorum'"),
    );
}

#[test]
fn who_gets_all_counts_either_way() {
    let is_one = "received none but current is the value 'true' of type 'bool'";
    check_counts("", says("x-single-active-consumer", is_one));
    let is_shared = "received the value 'true' of type 'bool' but current is none";
    check_counts("order=key", says("x-single-active-consumer", is_shared));
}

#[test]
fn how_long_a_queue_lives_counts() {
    for argument in ["durable", "auto_delete", "exclusive"] {
        check_counts("", says(argument, "received 'false' but current is 'true'"));
    }
}

#[test]
fn what_somebody_else_has_chosen_is_asked_for_as_it_is() {
    let asked = topology("").arguments();
    for (argument, found, value) in [
        ("x-max-length", "'5' of type 'signedint'", AMQPValue::LongLongInt(5)),
        ("x-max-length", "'5' of type 'long'", AMQPValue::LongLongInt(5)),
        ("x-expires", "'1000000' of type 'signedint'", AMQPValue::LongLongInt(1_000_000)),
        ("x-message-ttl", "'1000' of type 'signedint'", AMQPValue::LongLongInt(1000)),
        (
            "x-overflow",
            "'reject-publish' of type 'longstr'",
            AMQPValue::LongString("reject-publish".into()),
        ),
        ("x-dead-letter-exchange", "'' of type 'longstr'", AMQPValue::LongString("".into())),
    ] {
        let next =
            next(&asked, argument, &format!("received none but current is the value {found}"));
        assert_eq!(next.inner().get(argument), Some(&value));
        assert_eq!(next.inner().len(), asked.inner().len() + 1, "the others stay");
    }
}

#[test]
fn a_delivery_limit_of_somebody_else_is_found_in_two_steps() {
    let asked = topology("").arguments();
    assert!(asked.contains_key(DELIVERY_LIMIT));
    // Where both have a value, the broker does not tell its type.
    let without = next(&asked, DELIVERY_LIMIT, "received '2147483647' but current is '5'");
    assert!(!without.contains_key(DELIVERY_LIMIT));
    let typed = "received none but current is the value '5' of type 'signedint'";
    let with = next(&without, DELIVERY_LIMIT, typed);
    assert_eq!(with.inner().get(DELIVERY_LIMIT), Some(&AMQPValue::LongLongInt(5)));
    let absent = "received the value '2147483647' of type 'signedint' but current is none";
    assert!(!next(&asked, DELIVERY_LIMIT, absent).contains_key(DELIVERY_LIMIT));
}

#[test]
fn a_value_that_cannot_be_asked_for_is_a_mismatch() {
    let table = "received none but current is the value 'x' of type 'table'";
    assert!(adapted(&topology("").arguments(), &says("x-odd", table)).is_none());
}

#[test]
fn both_values_are_named() {
    let error = says("x-queue-type", "received 'quorum' but current is 'classic'").error();
    assert_eq!(
        error.to_string(),
        "queue `orders` has x-queue-type=classic, but the endpoint asks for x-queue-type=quorum; change one of them"
    );
}

#[test]
fn each_step_has_a_queue_of_its_own() {
    let names = STEPS.map(|step| step_queue(&"orders".into(), step).to_string());
    let expected =
        ["1s", "5s", "30s", "2m", "10m", "1h"].map(|step| format!("orders.delay.{step}"));
    assert_eq!(names, expected);
    assert_eq!(STEPS.last(), Some(&crate::config::LONGEST_DELAY));
}

#[test]
fn the_longest_address_has_room_for_its_steps() {
    let longest: ShortString = "x".repeat(239).into();
    for step in STEPS {
        assert!(
            step_queue(&longest, step)
                .as_str()
                .ends_with(&format!("{}", step_queue(&"".into(), step)))
        );
    }
}

#[test]
fn queues_ask_for_what_the_endpoint_says() {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let quorum = topology("").arguments();
    assert_eq!(quorum.inner().get("x-queue-type"), Some(&text("quorum")));
    assert_eq!(quorum.inner().get(DELIVERY_LIMIT), Some(&AMQPValue::LongInt(i32::MAX)));
    assert!(!quorum.contains_key("x-single-active-consumer"));
    let ordered = topology("queue_type=classic&order=key").arguments();
    assert_eq!(ordered.inner().get("x-queue-type"), Some(&text("classic")));
    assert_eq!(ordered.inner().get("x-single-active-consumer"), Some(&AMQPValue::Boolean(true)));
    assert!(!ordered.contains_key(DELIVERY_LIMIT), "a classic queue counts nothing");
}
