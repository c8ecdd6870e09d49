//! The properties with which a delivery is published once more.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use super::{PERSISTENT, name};

/// The properties with which a delivery is published once more, after `attempts` attempts.
///
/// All stay as they came, a foreign program's too, except what would do something once more: `expiration`, which
/// would count as the end of the wait; further routing keys; what the broker wrote; the publisher's own number; and
/// `user_id`, which must be the publisher's login.
pub(crate) fn again(properties: &BasicProperties, attempts: u32) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in properties.headers().iter().flatten() {
        if !is_spent(name.as_str()) {
            table.insert(name.clone(), value.clone());
        }
    }
    table.insert(name::ATTEMPT.into(), AMQPValue::LongLongInt(attempts.into()));
    texts(properties).with_delivery_mode(PERSISTENT).with_headers(table)
}

fn is_spent(name: &str) -> bool {
    [name::PUBLISH, name::CC, name::BCC].contains(&name) || name::is_of_broker(name)
}

/// A copy of each property that stays.
fn texts(from: &BasicProperties) -> BasicProperties {
    let mut into = BasicProperties::default();
    macro_rules! copy {
        ($($property:ident => $with:ident),* $(,)?) => {
            $(if let Some(value) = from.$property() {
                into = into.$with(value.clone());
            })*
        };
    }
    copy! {
        content_type => with_content_type,
        content_encoding => with_content_encoding,
        priority => with_priority,
        correlation_id => with_correlation_id,
        reply_to => with_reply_to,
        message_id => with_message_id,
        timestamp => with_timestamp,
        kind => with_type,
        app_id => with_app_id,
        cluster_id => with_cluster_id,
    }
    into
}
