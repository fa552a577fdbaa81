//! Reading events by their positions: from the nearest place that a segment's table knows, from
//! record to record by their headers, to the one that is asked for. What lies between is neither
//! copied nor decoded.

use bytes::Bytes;
use cim_store::{EventLogError, Position, RecordedEvent, positions};

use crate::error::EngineError;
use crate::events::log::EmbeddedLog;
use crate::events::log_read::Start;
use crate::events::record::{EVENT, decode};
use crate::journal::record::Place;
use crate::journal::segment::{View, WAYPOINT_BYTES, Waypoint};

/// Reads events one by one, each by its position.
#[derive(Debug)]
pub(crate) struct PositionRead<'a> {
    log: &'a EmbeddedLog,
    /// The last position that was flushed when the read began.
    until: u64,
    view: Option<View>,
    /// Behind the event that was read last: positions that are asked for in order are near.
    near: Option<Start>,
}

impl<'a> PositionRead<'a> {
    /// A read up to what is flushed now.
    pub(crate) fn new(log: &'a EmbeddedLog) -> Self {
        Self {
            log,
            until: log.journal.reached().sequence,
            view: None,
            near: None,
        }
    }

    /// The event at a position.
    pub(crate) fn event(&mut self, position: Position) -> Result<RecordedEvent, EventLogError> {
        let wanted = position.get();
        if wanted == 0 || wanted > self.until {
            return Err(positions::no_event(position));
        }
        self.check_not_given_up(position)?;
        self.find(wanted).map_err(|error| {
            // A truncation may have taken files away meanwhile.
            let overtaken = self.check_not_given_up(position).err();
            overtaken.unwrap_or_else(|| error.into())
        })
    }

    fn check_not_given_up(&self, position: Position) -> Result<(), EventLogError> {
        let through = self.log.truncated_through();
        if position.get() > through {
            return Ok(());
        }
        Err(positions::given_up(position, Position::new(through + 1)))
    }

    fn find(&mut self, wanted: u64) -> Result<RecordedEvent, EngineError> {
        let Start {
            mut place,
            mut before,
        } = self.start(wanted)?;
        // A flush group may have MiB, and the table knows only its beginning.
        let mut passed: Vec<Waypoint> = Vec::new();
        let mut known = u64::from(place.offset());
        loop {
            let view = match &self.view {
                Some(view) if view.covers(place) => view,
                _ => self.view.insert(self.log.journal.view(place)?),
            };
            let header = view.header(place)?;
            let next = Place::from_bits(place.bits() + header.span() as u64);
            if header.kind == EVENT {
                if header.sequence != before + 1 {
                    return Err(self.missing(before + 1, place));
                }
                let offset = u64::from(place.offset());
                if offset - known >= WAYPOINT_BYTES {
                    known = offset;
                    passed.push(Waypoint {
                        sequence: header.sequence,
                        stored_at: header.stored_at,
                        offset,
                    });
                }
                before = header.sequence;
            }
            if before == wanted {
                if !passed.is_empty() {
                    view.remember(&passed);
                }
                let mut body = Vec::with_capacity(header.body_len as usize);
                view.body_into(&header, &mut body)?;
                self.near = Some(Start {
                    place: next,
                    before,
                });
                return decode(&self.log.journal, &header, &Bytes::from(body));
            }
            place = next;
        }
    }

    /// The nearest known place at or before the event that is wanted.
    fn start(&self, wanted: u64) -> Result<Start, EngineError> {
        let segments = self.log.journal.segments();
        let begins = segments.partition_point(|one| one.header.first_sequence <= wanted);
        let segment = begins.checked_sub(1).and_then(|at| segments.get(at));
        let segment = segment.ok_or_else(|| self.missing(wanted, Place::NONE))?;
        let (before, offset) = segment.nearest(|waypoint| waypoint.sequence <= wanted)?;
        let known = Start {
            place: segment.place(offset),
            before,
        };
        let nearer = self.near.filter(|near| {
            near.place.segment() == segment.number()
                && near.place > known.place
                && near.before < wanted
        });
        Ok(nearer.unwrap_or(known))
    }

    #[cold]
    fn missing(&self, position: u64, place: Place) -> EngineError {
        let path = self.log.journal.setting.segment_path(place.segment());
        let what = format!("the event at position {position} is missing");
        EngineError::damage(what, &path, u64::from(place.offset()))
    }
}
