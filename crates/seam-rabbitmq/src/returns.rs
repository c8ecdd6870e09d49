//! Which datagrams were returned, of what lapin says of each confirm.
//!
//! lapin hands a returned message to whichever confirm it resolves next, not to that of its own publish. So a confirm
//! alone says nothing: it is the number in the returned message that counts, and a datagram is stored only once its
//! return, if there is one, must have been seen.
//!
//! Why that time comes: RabbitMQ writes a return before its confirm, so lapin has it in a queue when it resolves that
//! confirm, and each confirm takes the oldest of that queue. One that takes nothing found the queue empty: every return
//! that came before is in the hands of a confirm that was resolved earlier. And since each returned message has a
//! confirm of its own, the queue is empty whenever all confirms came; not where a channel broke, whose last confirms
//! take nothing.

use std::collections::{HashMap, HashSet};

use lapin::Confirmation;
use lapin::message::BasicReturnMessage;

use crate::mapping;

/// What became of a publish.
#[derive(Debug)]
pub(crate) enum Landing {
    /// The broker has it.
    Stored,
    /// The broker had nowhere to put it, and says why.
    Returned(String),
    /// The broker did not keep it, or one of its queues did not.
    Refused,
    /// The channel ended before the broker answered.
    Lost(lapin::Error),
}

/// Decides what landed, by rounds. A round is everything that is resolved when it ends.
#[derive(Default)]
pub(crate) struct Judge {
    returned: HashMap<u64, String>,
    refused: HashSet<u64>,
    /// Resolved in this round: without a return, and with one.
    plain: Vec<u64>,
    laden: Vec<u64>,
    /// Resolved in earlier rounds with the return of another, while their own may have been on its way.
    doubtful: Vec<u64>,
    lost: Vec<(u64, lapin::Error)>,
    /// Whether any was lost: their returns may lie in lapin's queue for ever.
    is_broken: bool,
}

impl Judge {
    /// Notes what lapin says of the confirm of publish `number`.
    pub(crate) fn note(&mut self, number: u64, resolved: lapin::Result<Confirmation>) {
        let message = match resolved {
            Ok(Confirmation::Ack(message)) => message,
            Ok(Confirmation::Nack(message)) => {
                self.refused.insert(number);
                message
            }
            // Confirms are on, so this does not come; if it did, nothing would be known.
            Ok(Confirmation::NotRequested) => {
                let error = lapin::ErrorKind::InvalidChannelState(
                    lapin::ChannelState::Error,
                    "a publish was not confirmed",
                );
                return self.lose(number, error.into());
            }
            Err(error) => return self.lose(number, error),
        };
        match message {
            None => self.plain.push(number),
            Some(message) => {
                self.laden.push(number);
                self.note_return(&message);
            }
        }
    }

    fn lose(&mut self, number: u64, error: lapin::Error) {
        self.is_broken = true;
        self.lost.push((number, error));
    }

    fn note_return(&mut self, message: &BasicReturnMessage) {
        // Everything of ours has a number; what has none was published by nobody here.
        let id = mapping::publish_id(&message.properties);
        if let Some(number) = id.and_then(|id| u64::try_from(id).ok()) {
            self.returned.insert(number, message.reply_text.to_string());
        }
    }

    /// Ends a round. `is_all` where no confirm is outstanding. What is not sure comes in a later round; of a channel
    /// that broke, it may never be.
    pub(crate) fn decide(&mut self, is_all: bool) -> Vec<(u64, Landing)> {
        let is_all = is_all && !self.is_broken;
        let is_clear = is_all || !self.plain.is_empty();
        let (mut sure, doubtful): (Vec<_>, _) = std::mem::take(&mut self.doubtful)
            .into_iter()
            .partition(|number| is_clear || self.returned.contains_key(number));
        self.doubtful = doubtful;
        sure.append(&mut self.plain);
        for number in std::mem::take(&mut self.laden) {
            match is_all || self.returned.contains_key(&number) {
                true => sure.push(number),
                false => self.doubtful.push(number),
            }
        }
        let landed = sure.into_iter().map(|number| (number, self.judge(number)));
        let mut landed: Vec<_> = landed.collect();
        for (number, error) in std::mem::take(&mut self.lost) {
            let landing = match self.returned.remove(&number) {
                Some(reason) => Landing::Returned(reason),
                None => Landing::Lost(error),
            };
            landed.push((number, landing));
        }
        landed
    }

    fn judge(&mut self, number: u64) -> Landing {
        let refused = self.refused.remove(&number);
        match self.returned.remove(&number) {
            Some(reason) => Landing::Returned(reason),
            None if refused => Landing::Refused,
            None => Landing::Stored,
        }
    }
}

#[cfg(test)]
mod tests;
