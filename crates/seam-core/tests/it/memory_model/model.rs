//! What the contract allows, said as simply as it can be: who owes which datagram to whom.

use std::collections::BTreeMap;
use std::time::Duration;

use seam_core::Fate;

/// Calendar time, or time of the clock, in milliseconds from its start.
pub(super) type Millis = u64;

#[derive(Default)]
pub(super) struct Model {
    pub(super) messages: Vec<Message>,
    pub(super) groups: Vec<Group>,
    pub(super) members: Vec<Member>,
    /// The order of everything that happens.
    tick: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) client: usize,
    pub(super) key: Option<u8>,
    pub(super) expiry: Option<Millis>,
    pub(super) deliver_at: Option<Millis>,
    pub(super) size: usize,
    /// When its call was first polled, which is its place in the order, and when the call ended.
    pub(super) began: Option<u64>,
    pub(super) ended: Option<u64>,
    pub(super) told: Told,
}

/// What the sender has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    Receipted,
    NotSent,
    MaybeSent,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: &'static str,
    created: u64,
    /// A throw-away group whose receiver is gone: nothing is owed to it.
    pub(super) gone: bool,
    seen: BTreeMap<usize, Seen>,
    /// The place of the last first delivery of each sender and key.
    last: BTreeMap<(usize, u8), u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    attempts: u32,
    in_hand: bool,
    settled: bool,
    not_before: Millis,
    possible_duplicate: bool,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) group: usize,
    credit: usize,
    credit_bytes: usize,
    pub(super) in_hand: usize,
    bytes: usize,
    /// The sender and key of each datagram in hand that has one.
    keys: Vec<(usize, u8)>,
    /// Whether it still takes more.
    live: bool,
}

impl Model {
    pub(super) fn tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    /// A receiver joins the group of that name; private ones are alone.
    pub(super) fn join(&mut self, name: &'static str, credit: usize, credit_bytes: usize) -> usize {
        let created = self.tick();
        let known = self.groups.iter().position(|g| g.name == name && name != "private");
        let group = known.unwrap_or_else(|| {
            let (seen, last) = Default::default();
            self.groups.push(Group { name, created, gone: false, seen, last });
            self.groups.len() - 1
        });
        let (keys, live) = (Vec::new(), true);
        self.members.push(Member { group, credit, credit_bytes, in_hand: 0, bytes: 0, keys, live });
        self.members.len() - 1
    }

    /// A receiver is gone, and with it its group if that was its own.
    pub(super) fn leave(&mut self, member: usize) {
        self.retire(member);
        let group = &mut self.groups[self.members[member].group];
        group.gone |= group.name == "private";
    }

    /// A receiver takes nothing more.
    pub(super) fn retire(&mut self, member: usize) {
        self.members[member].live = false;
    }

    /// A datagram of a key goes to the member that has others of it in hand, so that they stay in order.
    fn hold_key(&mut self, member: usize, id: usize) {
        let Message { client, key: Some(key), .. } = self.messages[id] else { return };
        let group = self.members[member].group;
        for (other, entry) in self.members.iter().enumerate() {
            let holds = entry.live && entry.group == group && entry.keys.contains(&(client, key));
            assert!(!holds || other == member, "{id} was delivered beside its key");
        }
        self.members[member].keys.push((client, key));
    }

    pub(super) fn deliver(
        &mut self,
        member: usize,
        id: usize,
        attempt: u32,
        dup: bool,
        now: Millis,
    ) {
        self.hold_key(member, id);
        let message = &self.messages[id];
        let Member { group, credit, credit_bytes, in_hand, bytes, .. } = &mut self.members[member];
        let group = &mut self.groups[*group];
        assert!(message.began.is_some(), "{id} was delivered before it was sent");
        assert_ne!(message.told, Told::NotSent, "{id} was delivered, and told as not sent");
        assert!(message.ended.is_none_or(|end| group.created < end), "{id} came to a later group");
        assert!(message.expiry.is_none_or(|at| now < at), "{id} was delivered after its expiry");
        assert!(message.deliver_at.is_none_or(|at| now >= at), "{id} was delivered too early");
        let seen = group.seen.entry(id).or_default();
        assert!(!seen.settled, "{id} was delivered after it was settled");
        assert!(!seen.in_hand, "{id} was delivered to two members at once");
        assert!(now >= seen.not_before, "{id} was delivered before its delay was over");
        assert_eq!(attempt, seen.attempts + 1, "attempts of {id}");
        assert_eq!(dup, seen.possible_duplicate, "possible duplicate {id}");
        (seen.attempts, seen.in_hand) = (attempt, true);
        if let (1, Some(key), None) = (attempt, message.key, message.deliver_at) {
            let last = group.last.entry((message.client, key)).or_default();
            assert!(*last < message.began.unwrap_or(0), "{id} overtook its key in {}", group.name);
            *last = message.began.unwrap_or(0);
        }
        let alone = *in_hand == 0;
        (*in_hand, *bytes) = (*in_hand + 1, *bytes + message.size);
        assert!(*in_hand <= *credit, "member {member} got more than its credit");
        assert!(alone || *bytes <= *credit_bytes, "member {member} got more bytes than its credit");
    }

    fn let_go(&mut self, member: usize, id: usize) -> &mut Seen {
        let Member { group, in_hand, bytes, keys, .. } = &mut self.members[member];
        let Message { client, key, .. } = self.messages[id];
        if let Some(at) = keys.iter().position(|held| Some(*held) == key.map(|key| (client, key))) {
            keys.swap_remove(at);
        }
        (*in_hand, *bytes) = (*in_hand - 1, *bytes - self.messages[id].size);
        let seen = self.groups[*group].seen.get_mut(&id).expect("it was delivered");
        assert!(std::mem::take(&mut seen.in_hand), "{id} was not in hand");
        seen
    }

    pub(super) fn settle(&mut self, member: usize, id: usize) {
        self.let_go(member, id).settled = true;
    }

    pub(super) fn release(&mut self, member: usize, id: usize, not_before: Millis, lost: bool) {
        let seen = self.let_go(member, id);
        seen.not_before = not_before;
        seen.possible_duplicate |= lost;
    }

    /// The sender was told the fate of a datagram.
    pub(super) fn tell(&mut self, id: usize, told: Told, settled: bool, now: Millis) {
        let before = std::mem::replace(&mut self.messages[id].told, told);
        assert_eq!(before, Told::Nothing, "the fate of {id} was told twice");
        match told {
            Told::NotSent => {
                let seen = self.groups.iter().any(|group| group.seen.contains_key(&id));
                assert!(!seen, "{id} was told as not sent, and had been delivered");
            }
            Told::Receipted if settled => {
                assert!(!self.owed(id, now), "{id} was told as settled, and was not");
            }
            _ => {}
        }
    }

    /// Whether some group that was there before its call began is not done with the datagram.
    pub(super) fn owed(&self, id: usize, now: Millis) -> bool {
        let message = &self.messages[id];
        let Some(began) = message.began else { return false };
        let expired = message.expiry.is_some_and(|at| now >= at);
        let owing = |(at, group): (usize, &Group)| {
            let seen = group.seen.get(&id);
            // Once the receiver of a throw-away group drains, what waits for it goes, and what it has in hand stays.
            let open = group.name != "private"
                || seen.is_some_and(|seen| seen.in_hand)
                || self.members.iter().any(|member| member.group == at && member.live);
            group.created < began && !group.gone && open && !seen.is_some_and(|seen| seen.settled)
        };
        !expired && self.groups.iter().enumerate().any(owing)
    }

    /// Whether anything that was receipted, or has not had its fate told, is owed.
    pub(super) fn owes(&self, now: Millis) -> Option<usize> {
        let open = |id: &usize| match self.messages[*id].told {
            Told::Receipted => self.owed(*id, now),
            Told::Nothing => self.owed(*id, now) && !self.is_behind_a_failure(*id),
            Told::NotSent | Told::MaybeSent => false,
        };
        (0..self.messages.len()).find(open)
    }

    /// Whether an earlier one of its key has failed: then it may not succeed, and nobody asked to be told.
    fn is_behind_a_failure(&self, id: usize) -> bool {
        let Message { client, key, began, .. } = self.messages[id];
        let failed = |m: &Message| matches!(m.told, Told::NotSent | Told::MaybeSent);
        let earlier = |m: &Message| m.client == client && m.key == key && m.began < began;
        key.is_some() && self.messages.iter().any(|m| earlier(m) && failed(m))
    }

    pub(super) fn count(&self, client: usize, told: Told) -> u64 {
        let all = self.messages.iter().filter(|m| m.client == client && m.told == told);
        all.map(|_| 1).sum()
    }
}

impl From<Fate> for Told {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::NotSent => Self::NotSent,
            Fate::MaybeSent => Self::MaybeSent,
        }
    }
}

pub(super) fn millis(time: Duration) -> Millis {
    u64::try_from(time.as_millis()).expect("a test is short")
}
