use std::collections::HashMap;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::time::Instant;

/// About 10 MB at a kilobyte an answer.
const ENTRIES_MAX: usize = 10_000;
const POSITIVE_TTL_MAX: u32 = 3600;
const NEGATIVE_TTL_MAX: u32 = 1800;
/// A failure upstream is not asked again at once by everybody.
const FAILURE_TTL: u32 = 5;

/// A question as the cache knows it: names do not differ by case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    name: String,
    kind: RecordType,
    dnssec: bool,
}

impl CacheKey {
    pub fn new(query: &Query, dnssec: bool) -> Self {
        Self { name: query.name().to_lowercase().to_ascii(), kind: query.query_type(), dnssec }
    }
}

struct Cached {
    message: Message,
    since: Instant,
    until: Instant,
}

/// Answers of others, for as long as they said.
#[derive(Default)]
pub(crate) struct Cache {
    entries: HashMap<CacheKey, Cached>,
}

impl Cache {
    /// The answer with its time counted down, if it is still good.
    pub fn get(&self, key: &CacheKey, now: Instant) -> Option<Message> {
        let cached = self.entries.get(key).filter(|cached| cached.until > now)?;
        let age = u32::try_from((now - cached.since).as_secs()).unwrap_or(u32::MAX);
        let mut message = cached.message.clone();
        for section in [&mut message.answers, &mut message.authorities, &mut message.additionals] {
            section.iter_mut().for_each(|record| record.ttl = record.ttl.saturating_sub(age));
        }
        Some(message)
    }

    pub fn put(&mut self, key: CacheKey, message: &Message, now: Instant) {
        let Some(ttl) = ttl(message).filter(|ttl| *ttl > 0) else {
            return;
        };
        if self.entries.len() >= ENTRIES_MAX {
            self.make_room(now);
        }
        let until = now + Duration::from_secs(u64::from(ttl));
        self.entries.insert(key, Cached { message: message.clone(), since: now, until });
    }

    /// Drops what has expired, and when that is not enough the half that would expire first.
    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, cached| cached.until > now);
        if self.entries.len() >= ENTRIES_MAX {
            let mut ends: Vec<_> = self.entries.values().map(|cached| cached.until).collect();
            let (_, median, _) = ends.select_nth_unstable(ENTRIES_MAX / 2);
            let median = *median;
            self.entries.retain(|_, cached| cached.until > median);
        }
    }
}

/// For how long an answer may be kept: the least of its records', or for a "no" what the zone's SOA says.
fn ttl(message: &Message) -> Option<u32> {
    let least = |records: &[Record]| records.iter().map(|record| record.ttl).min();
    match message.metadata.response_code {
        ResponseCode::NoError if !message.answers.is_empty() => {
            least(&message.answers).map(|ttl| ttl.min(POSITIVE_TTL_MAX))
        }
        ResponseCode::NoError | ResponseCode::NXDomain => negative_ttl(&message.authorities),
        ResponseCode::ServFail => Some(FAILURE_TTL),
        _ => None,
    }
}

fn negative_ttl(authorities: &[Record]) -> Option<u32> {
    authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum).min(NEGATIVE_TTL_MAX)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{MessageType, OpCode};
    use hickory_proto::rr::Name;
    use hickory_proto::rr::rdata::{A, SOA};

    fn key() -> CacheKey {
        CacheKey::new(&Query::query(Name::from_ascii("Example.com.").unwrap(), RecordType::A), false)
    }

    fn message(code: ResponseCode) -> Message {
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.metadata.response_code = code;
        message
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_down_and_expires() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let mut positive = message(ResponseCode::NoError);
        let name = Name::from_ascii("example.com.").unwrap();
        positive.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1))));
        cache.put(key(), &positive, now);
        let later = cache.get(&key(), now + Duration::from_secs(20)).unwrap();
        assert_eq!(later.answers[0].ttl, 40);
        assert!(cache.get(&key(), now + Duration::from_secs(60)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_no_is_kept_as_long_as_the_zone_says() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.put(key(), &message(ResponseCode::NXDomain), now);
        assert!(cache.get(&key(), now).is_none(), "without an SOA nobody says how long");
        let mut negative = message(ResponseCode::NXDomain);
        let zone = Name::from_ascii("com.").unwrap();
        negative.add_authority(Record::from_rdata(
            zone.clone(),
            900,
            RData::SOA(SOA::new(zone.clone(), zone, 1, 1, 1, 1, 10)),
        ));
        cache.put(key(), &negative, now);
        assert!(cache.get(&key(), now + Duration::from_secs(9)).is_some());
        assert!(cache.get(&key(), now + Duration::from_secs(10)).is_none());
    }
}
