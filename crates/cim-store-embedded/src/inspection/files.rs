//! The files of a log that may be damaged: which there are, and from where to where there are
//! records in them.

use std::path::Path;
use std::sync::Arc;

use cim_store::{Damage, Position};

use crate::error::EngineError;
use crate::events::examination::{Examiner, Extent};
use crate::events::truncate::carried_number;
use crate::journal::mark::{MarkFile, Reached};
use crate::journal::record::{LAST_OF_COMMIT, LAST_OF_GROUP, Place};
use crate::journal::segment::{FIRST_OFFSET, Segment, SegmentHeader};
use crate::journal::survey::{Seen, Survey, SurveyedFile};
use crate::journal::{Setting, State, segment_number};

/// So many of the newest files are kept open.
const KEPT_OPEN: usize = 256;

/// The files of a log.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) setting: Setting,
    /// `None` where it can't be read.
    pub(super) state: Option<State>,
    /// Oldest first.
    files: Vec<File>,
    /// What is known of events that were given up.
    pub(super) carried: Option<SurveyedFile>,
    /// The last position that was flushed, as far as anything says so.
    pub(super) last: u64,
    pub(super) truncated_through: u64,
    pub(super) bytes: u64,
    /// What is wrong with files beside their records.
    pub(super) damage: Vec<Damage>,
}

#[derive(Debug)]
struct File {
    surveyed: SurveyedFile,
    /// The position that its first event has at least; `None` where its header does not check.
    first_sequence: Option<u64>,
}

/// A file as it was found.
struct Opened {
    segment: Segment,
    /// Whether its header checks.
    sound: bool,
    len: u64,
    /// Where its footer says that records end.
    footer_end: Option<u64>,
}

impl Files {
    /// Looks for the files of a log. What is wrong with them is noted.
    pub(super) fn find(setting: Setting) -> Result<Self, EngineError> {
        let mut damage = Vec::new();
        let state = noted(State::read(&setting), &mut damage)?;
        let first = state.as_ref().map_or(0, |state| state.first_segment);
        let names = match setting.disk.list(&setting.directory) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(EngineError::io("list", &setting.directory)(error)),
        };
        let mut numbers: Vec<u32> = names
            .iter()
            .filter_map(|name| segment_number(name))
            // Those before were given up, and not yet removed when the process stopped.
            .filter(|number| *number >= first)
            .collect();
        numbers.sort_unstable();
        let mut opened = Vec::with_capacity(numbers.len());
        for number in numbers {
            opened.push(open(&setting, number, &mut damage)?);
        }
        let mark = MarkFile::open(&*setting.disk, &setting.path("mark"), setting.salt);
        let mark = noted(mark, &mut damage)?.map(|(_, reached)| reached);
        let carried = open_carried(&setting, state.as_ref(), &mut damage)?;
        let mut found = Self {
            state,
            files: Vec::with_capacity(opened.len()),
            carried,
            last: mark.map_or(0, |mark| mark.sequence),
            truncated_through: 0,
            bytes: opened.iter().map(|file| file.len).sum(),
            damage,
            setting,
        };
        found.take(&opened, mark)?;
        let first = found.files.first().and_then(|file| file.first_sequence);
        found.truncated_through = match &found.state {
            Some(state) => state.truncated_through,
            None => first.unwrap_or_default().saturating_sub(1),
        };
        Ok(found)
    }

    /// Finds out where the records of each file end.
    fn take(&mut self, opened: &[Opened], mark: Option<Reached>) -> Result<(), EngineError> {
        let old = opened.len().saturating_sub(KEPT_OPEN);
        for (at, file) in opened.iter().enumerate() {
            let next = opened.get(at + 1);
            let goes_on = next
                .filter(|next| next.sound && next.segment.number() == file.segment.number() + 1)
                .map(|next| next.segment.header.previous_end)
                .filter(|end| *end >= FIRST_OFFSET);
            let mut surveyed = SurveyedFile::of(&file.segment, file.len, file.len);
            surveyed.end = match file.footer_end.or(goes_on) {
                Some(end) => end,
                None if next.is_some() => file.len,
                None => self.find_end(&surveyed, file, mark)?,
            };
            if at < old {
                surveyed.file.rest(&surveyed.path);
            }
            let first_sequence = file.sound.then_some(file.segment.header.first_sequence);
            let before = first_sequence.unwrap_or_default().saturating_sub(1);
            self.last = self.last.max(before);
            self.files.push(File {
                surveyed,
                first_sequence,
            });
        }
        Ok(())
    }

    /// Where the records of the last file end: what was flushed, and behind it the whole commits, as
    /// opening the store would find them. Bytes that don't check behind the mark are the end of a
    /// write that was never acknowledged, unless a record of a later flush follows them.
    fn find_end(
        &mut self,
        file: &SurveyedFile,
        opened: &Opened,
        mark: Option<Reached>,
    ) -> Result<u64, EngineError> {
        let header = &opened.segment.header;
        let marked = mark.filter(|mark| mark.end.segment() == file.number);
        let (from, group) = marked.map_or(
            (FIRST_OFFSET, header.first_group.saturating_sub(1)),
            |mark| (u64::from(mark.end.offset()), mark.group),
        );
        if from >= file.end {
            return Ok(from); // what was flushed is missing, or stands before
        }
        let place = Place::new(file.number, from as u32);
        let mut survey = Survey::new(vec![file.clone()], self.setting.salt, place);
        let (mut end, mut group, mut torn) = (from, group, false);
        while let Some(seen) = survey.next()? {
            let Seen::Record(header, body) = seen else {
                torn = true; // a displaced record is no write that was under way
                continue;
            };
            let body = survey.piece().get(body).unwrap_or_default();
            let sound = crc32c::crc32c(body) == header.body_crc;
            torn = !sound || torn && header.group <= group;
            if !torn && header.has(LAST_OF_COMMIT) {
                end = u64::from(header.place.offset()) + header.span() as u64;
                group = header.group + u64::from(header.has(LAST_OF_GROUP));
                self.last = self.last.max(header.sequence);
            }
        }
        Ok(end)
    }

    /// Goes over the log behind a position.
    pub(super) fn examiner(&self, after: u64) -> Examiner {
        let after = after.max(self.truncated_through);
        let begins = |file: &&File| {
            file.first_sequence
                .is_some_and(|first| first <= after.saturating_add(1))
        };
        let file = self.files.iter().rev().find(begins);
        let place = file.map_or(Place::NONE, |file| {
            Place::new(file.surveyed.number, FIRST_OFFSET as u32)
        });
        let before = file.and_then(|file| file.first_sequence).unwrap_or(1) - 1;
        self.examiner_from(place, before, after)
    }

    /// Goes over the log behind a position, from a place on.
    pub(super) fn examiner_from(&self, place: Place, before: u64, after: u64) -> Examiner {
        let files = self.files.iter().map(|file| file.surveyed.clone());
        let survey = Survey::new(files.collect(), self.setting.salt, place);
        Examiner::new(
            survey,
            Extent {
                before,
                after,
                until: self.last,
            },
        )
    }

    /// The file with the records of this number.
    pub(super) fn file(&self, number: u32) -> Option<&SurveyedFile> {
        let mut all = self.files.iter().map(|file| &file.surveyed);
        all.find(|file| file.number == number)
            .or_else(|| self.carried.as_ref().filter(|file| file.number == number))
    }
}

/// The value; damage is noted instead.
fn noted<T>(
    result: Result<T, EngineError>,
    damage: &mut Vec<Damage>,
) -> Result<Option<T>, EngineError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error @ EngineError::Damage { .. }) => {
            damage.push(Damage {
                position: None,
                stream: None,
                version: None,
                missing: false,
                message: error.to_string(),
            });
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn open(setting: &Setting, number: u32, damage: &mut Vec<Damage>) -> Result<Opened, EngineError> {
    let path = setting.segment_path(number);
    let io = |error| EngineError::io("open", &path)(error);
    let file = setting.disk.open_to_read(&path).map_err(io)?;
    let len = file.len().map_err(io)?;
    let code = setting.family.code;
    let segment = Segment::open(&path, Arc::clone(&file), code, number, setting.salt);
    let segment = noted(segment, damage)?;
    let sound = segment.is_some();
    let segment = segment.unwrap_or_else(|| {
        let unknown = SegmentHeader {
            family: code,
            number,
            first_sequence: 0,
            first_group: 0,
            previous_end: 0,
            stored_at: i64::MIN,
        };
        Segment::new(unknown, path.clone(), file, setting.salt, FIRST_OFFSET)
    });
    let footer_end = segment.read_footer()?.map(|footer| footer.end);
    Ok(Opened {
        segment,
        sound,
        len,
        footer_end,
    })
}

fn open_carried(
    setting: &Setting,
    state: Option<&State>,
    damage: &mut Vec<Damage>,
) -> Result<Option<SurveyedFile>, EngineError> {
    let Some(name) = state.and_then(|state| state.carried.as_ref()) else {
        return Ok(None);
    };
    let path = setting.path(name);
    let file = setting.disk.open_to_read(&path);
    let segment = file
        .map_err(EngineError::opening(&path))
        .and_then(|file| open_carried_file(setting, &path, file, carried_number(name)));
    Ok(noted(segment, damage)?
        .map(|segment| SurveyedFile::of(&segment, segment.end(), segment.end())))
}

fn open_carried_file(
    setting: &Setting,
    path: &Path,
    file: Arc<dyn crate::disk::DiskFile>,
    number: u32,
) -> Result<Segment, EngineError> {
    let segment = Segment::open(path, file, setting.family.code, number, setting.salt)?;
    if segment.take_footer()? {
        return Ok(segment);
    }
    Err(EngineError::damage(
        "the file's footer does not check",
        path,
        0,
    ))
}

impl Files {
    /// The first position that there should be, and the last; both 0 where there is none.
    pub(super) fn positions(&self) -> (Position, Position) {
        let last = self.last.max(self.truncated_through);
        let first = if last > self.truncated_through {
            self.truncated_through + 1
        } else {
            0
        };
        (Position::new(first), Position::new(last))
    }
}
