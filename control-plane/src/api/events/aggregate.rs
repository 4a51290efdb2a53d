//! One number over events. Numbers that are the value itself are added up by the database, those inside of it here.

use serde_json::Value;

use super::super::problem::Problem;
use super::asked::Aggregation;
use crate::core::Core;
use crate::persist::{Aggregator, EventQuery};

/// LIMIT: events of one look.
const LOOK: u64 = 1000;
/// LIMIT: events whose values are read for one number; some seconds.
const EVENTS_MAX: u32 = 100_000;

/// The number that is asked for; `None`: there is none to make it of.
pub(super) async fn number(core: &Core, query: &EventQuery, how: &Aggregation) -> Result<Option<f64>, Problem> {
    let failed = |error| Problem::database("reading the events", &error);
    if how.path.is_empty() || how.aggregator == Aggregator::Count {
        return core.aggregate(query, how.aggregator).await.map_err(failed);
    }
    let too_many = || {
        let detail = format!("the values of more than {EVENTS_MAX} events would have to be read");
        Problem::bad_request(detail, "ask for fewer of them, by a tag or by their time")
    };
    // Counting costs a part of reading: who asks for too many is told first.
    let count = core.aggregate(query, Aggregator::Count).await.map_err(failed)?;
    if count.is_some_and(|count| count > f64::from(EVENTS_MAX)) {
        return Err(too_many());
    }
    let mut numbers = Numbers::default();
    let mut query = EventQuery { offset: 0, limit: LOOK, after_id: Some(0), ..query.clone() };
    let mut read = 0;
    loop {
        let events = core.events(&query).await.map_err(failed)?;
        let Some(last) = events.last() else { return Ok(numbers.answer(how.aggregator)) };
        query.after_id = Some(last.id);
        read += LOOK;
        if read > u64::from(EVENTS_MAX) {
            return Err(too_many());
        }
        let found = events.iter().filter_map(|event| inside(&event.value, &how.path)?.as_f64());
        found.for_each(|number| numbers.take(number));
    }
}

/// What stands at the end of a path.
fn inside<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

#[derive(Debug, Default)]
struct Numbers {
    count: f64,
    sum: f64,
    min: Option<f64>,
    max: Option<f64>,
}

impl Numbers {
    fn take(&mut self, number: f64) {
        self.count += 1.0;
        self.sum += number;
        self.min = Some(self.min.map_or(number, |min| min.min(number)));
        self.max = Some(self.max.map_or(number, |max| max.max(number)));
    }

    fn answer(&self, how: Aggregator) -> Option<f64> {
        match how {
            Aggregator::Count => Some(self.count),
            Aggregator::Min => self.min,
            Aggregator::Max => self.max,
            Aggregator::Sum => self.max.map(|_| self.sum),
            Aggregator::Average => self.max.map(|_| self.sum / self.count),
        }
    }
}
