//! Disks that misbehave: one that refuses what a test chooses, and one whose power is cut.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use cim_conformance::model::Rng;
use cim_store_embedded::Mapping;
use cim_store_embedded::disk::{Disk, DiskFile, RealDisk};

/// What is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Request {
    Open,
    Create,
    Read,
    Write,
    Sync,
    SetLen,
    Reserve,
    Map,
    Rename,
    Remove,
    SyncDir,
    List,
}

type Choice = dyn FnMut(Request, &Path) -> Option<io::ErrorKind> + Send;

/// A disk that refuses what the test chooses.
#[derive(Clone)]
pub(crate) struct FaultyDisk {
    disk: Arc<dyn Disk>,
    choose: Arc<Mutex<Box<Choice>>>,
    /// The names of open files, which change when they are renamed.
    names: Arc<Mutex<HashMap<PathBuf, Name>>>,
}

type Name = Arc<Mutex<PathBuf>>;

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyDisk")
    }
}

impl FaultyDisk {
    /// A disk that works.
    pub(crate) fn new() -> Self {
        Self::over(RealDisk)
    }

    /// The same over another disk.
    pub(crate) fn over(disk: impl Disk) -> Self {
        Self {
            disk: Arc::new(disk),
            choose: Arc::new(Mutex::new(Box::new(|_, _| None))),
            names: Arc::default(),
        }
    }

    /// From now on, this says what is refused and how. A write that is refused leaves half of
    /// its bytes.
    pub(crate) fn refuse(
        &self,
        choose: impl FnMut(Request, &Path) -> Option<io::ErrorKind> + Send + 'static,
    ) {
        *self.choose.lock().unwrap() = Box::new(choose);
    }

    /// From now on, nothing is refused.
    pub(crate) fn heal(&self) {
        self.refuse(|_, _| None);
    }

    fn ask(&self, request: Request, path: &Path) -> io::Result<()> {
        match (self.choose.lock().unwrap())(request, path) {
            Some(kind) => Err(io::Error::new(
                kind,
                format!("{request:?} refused by the test"),
            )),
            None => Ok(()),
        }
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.ask(Request::List, directory)?;
        self.disk.list(directory)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.ask(
            if create {
                Request::Create
            } else {
                Request::Open
            },
            path,
        )?;
        let file = self.disk.open(path, create)?;
        let name = Arc::new(Mutex::new(path.to_owned()));
        self.names
            .lock()
            .unwrap()
            .insert(path.to_owned(), Arc::clone(&name));
        Ok(Arc::new(FaultyFile {
            disk: self.clone(),
            name,
            file,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.ask(Request::Rename, to)?;
        self.disk.rename(from, to)?;
        let mut names = self.names.lock().unwrap();
        if let Some(name) = names.remove(from) {
            *name.lock().unwrap() = to.to_owned();
            names.insert(to.to_owned(), name);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.ask(Request::Remove, path)?;
        self.disk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.ask(Request::SyncDir, path)?;
        self.disk.sync_dir(path)
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    name: Name,
    file: Arc<dyn DiskFile>,
}

impl FaultyFile {
    fn ask(&self, request: Request) -> io::Result<()> {
        let path = self.name.lock().unwrap().clone();
        self.disk.ask(request, &path)
    }
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.ask(Request::Read)?;
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.ask(Request::Write) {
            self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.ask(Request::Sync)?;
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.ask(Request::SetLen)?;
        self.file.set_len(len)
    }

    fn reserve(&self, len: u64) -> io::Result<bool> {
        self.ask(Request::Reserve)?;
        self.file.reserve(len)
    }

    fn map(&self, len: usize) -> io::Result<Mapping> {
        self.ask(Request::Map)?;
        self.file.map(len)
    }
}

/// What a drive can write as one.
const SECTOR: u64 = 512;

/// A disk that keeps for sure only what was flushed. At a chosen moment its power is cut: then it
/// refuses everything, and [`image`](Self::image) is what is left on it: of the writes that were
/// not flushed any sectors in any order, of the lengths and names that were not flushed any.
#[derive(Clone, Debug)]
pub(crate) struct PowerDisk {
    state: Arc<Mutex<Power>>,
}

#[derive(Debug)]
struct Power {
    rng: Rng,
    /// Changes until the power is cut.
    left: u64,
    files: Vec<Inode>,
    names: HashMap<PathBuf, usize>,
    durable_names: HashMap<PathBuf, usize>,
    changes: Vec<NameChange>,
    /// Flushes of segments of events fail from now on, and the system forgets what it had to
    /// write: it can still be read, but no later flush writes it.
    forgets: bool,
    image: Option<HashMap<PathBuf, Vec<u8>>>,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Grow(u64),
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Remove(PathBuf),
}

impl NameChange {
    fn directory(&self) -> Option<&Path> {
        match self {
            Self::Create(path, _) | Self::Rename(_, path, _) | Self::Remove(path) => path.parent(),
        }
    }

    fn apply(&self, names: &mut HashMap<PathBuf, usize>) {
        match self {
            Self::Create(path, file) => {
                names.insert(path.clone(), *file);
            }
            Self::Rename(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

fn write(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    content[start..end].copy_from_slice(bytes);
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => write(content, *offset, bytes),
            Self::SetLen(len) => content.resize(*len as usize, 0),
            Self::Grow(len) => content.resize(content.len().max(*len as usize), 0),
        }
    }

    /// Applies what the cut lets through.
    fn apply_torn(&self, content: &mut Vec<u8>, rng: &mut Rng, percent: u64) {
        match self {
            Self::Write(offset, bytes) => {
                let mut at = 0;
                while at < bytes.len() {
                    let here = offset + at as u64;
                    let end = bytes.len().min(at + (SECTOR - here % SECTOR) as usize);
                    if rng.below(100) < percent {
                        write(content, here, &bytes[at..end]);
                    }
                    at = end;
                }
            }
            Self::SetLen(_) | Self::Grow(_) if rng.below(100) < percent => self.apply(content),
            Self::SetLen(_) | Self::Grow(_) => {}
        }
    }
}

impl PowerDisk {
    /// A disk whose power is cut after so many changes. What is in the directory is durable.
    pub(crate) fn new(root: &Path, seed: u64, changes: u64) -> Self {
        let mut power = Power {
            rng: Rng::new(seed),
            left: changes,
            files: Vec::new(),
            names: HashMap::new(),
            durable_names: HashMap::new(),
            changes: Vec::new(),
            forgets: false,
            image: None,
        };
        power.load(root).unwrap();
        Self {
            state: Arc::new(Mutex::new(power)),
        }
    }

    /// Whether the power was cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.state.lock().unwrap().image.is_some()
    }

    /// From now on, whether flushes of segments fail so that what they had to write is forgotten.
    pub(crate) fn forget(&self, forgets: bool) {
        self.state.lock().unwrap().forgets = forgets;
    }

    /// Cuts the power now, unless it was before, and writes what is left to a new directory.
    pub(crate) fn image(&self, root: &Path, to: &Path) {
        let mut power = self.state.lock().unwrap();
        power.cut();
        for (path, content) in power.image.iter().flatten() {
            let path = to.join(path.strip_prefix(root).unwrap());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    /// Notes a change, and carries it out unless the power is cut with it.
    fn change<T>(
        &self,
        note: impl FnOnce(&mut Power) -> io::Result<T>,
        then: impl FnOnce(&mut Power, T),
    ) -> io::Result<()> {
        let mut power = self.state.lock().unwrap();
        if power.image.is_none() {
            let noted = note(&mut power)?;
            power.left = power.left.saturating_sub(1);
            if power.left > 0 {
                then(&mut power, noted);
                return Ok(());
            }
            power.cut();
        }
        Err(io::Error::other("the power is cut"))
    }
}

impl Power {
    fn cut(&mut self) {
        if self.image.is_some() {
            return;
        }
        let rng = &mut self.rng;
        let percents = [0, 50, 90, 100];
        let mut names = self.durable_names.clone();
        let percent = *rng.pick(&percents).unwrap();
        for change in &self.changes {
            if rng.below(100) < percent {
                change.apply(&mut names);
            }
        }
        let mut image = HashMap::new();
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort(); // so that the seed decides
        for (path, file) in names {
            let file = &self.files[file];
            let mut content = file.durable.clone();
            let percent = *rng.pick(&percents).unwrap();
            for change in &file.pending {
                change.apply_torn(&mut content, rng, percent);
            }
            image.insert(path, content);
        }
        self.image = Some(image);
    }

    fn file(&mut self, path: &Path) -> io::Result<usize> {
        if let Some(file) = self.names.get(path) {
            return Ok(*file);
        }
        let durable = std::fs::read(path)?;
        self.files.push(Inode {
            durable,
            pending: Vec::new(),
        });
        let file = self.files.len() - 1;
        self.names.insert(path.to_owned(), file);
        self.durable_names.insert(path.to_owned(), file);
        Ok(file)
    }

    /// Files that are there already are durable.
    fn load(&mut self, directory: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                self.load(&path)?;
            } else if path.file_name().is_some_and(|name| name != "lock") {
                self.file(&path)?;
            }
        }
        Ok(())
    }
}

impl Disk for PowerDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(directory)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut id = 0;
        if create {
            let note = |power: &mut Power| {
                RealDisk.open(path, true)?;
                power.files.push(Inode::default());
                id = power.files.len() - 1;
                power.names.insert(path.to_owned(), id);
                power.changes.push(NameChange::Create(path.to_owned(), id));
                Ok(())
            };
            self.change(note, |_, ()| {})?;
        } else {
            let mut power = self.state.lock().unwrap();
            if power.image.is_some() {
                return Err(io::Error::other("the power is cut"));
            }
            id = power.file(path)?;
        }
        let file = RealDisk.open(path, false)?;
        Ok(Arc::new(PowerFile {
            disk: self.clone(),
            id,
            file,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let note = |power: &mut Power| {
            let file = power.file(from)?;
            RealDisk.rename(from, to)?;
            power.names.remove(from);
            power.names.insert(to.to_owned(), file);
            power
                .changes
                .push(NameChange::Rename(from.to_owned(), to.to_owned(), file));
            Ok(())
        };
        self.change(note, |_, ()| {})
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let note = |power: &mut Power| {
            if !path.exists() {
                return Ok(());
            }
            power.file(path)?;
            RealDisk.remove(path)?;
            power.names.remove(path);
            power.changes.push(NameChange::Remove(path.to_owned()));
            Ok(())
        };
        self.change(note, |_, ()| {})
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let then = |power: &mut Power, ()| {
            let (now, later) = std::mem::take(&mut power.changes)
                .into_iter()
                .partition::<Vec<_>, _>(|change| change.directory() == Some(path));
            for change in now {
                change.apply(&mut power.durable_names);
            }
            power.changes = later;
        };
        self.change(|_| Ok(()), then)
    }
}

#[derive(Debug)]
struct PowerFile {
    disk: PowerDisk,
    id: usize,
    file: Arc<dyn DiskFile>,
}

impl DiskFile for PowerFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let note = |power: &mut Power| {
            power.files[self.id]
                .pending
                .push(Change::Write(offset, bytes.to_vec()));
            self.file.write_at(bytes, offset)
        };
        self.disk.change(note, |_, ()| {})
    }

    fn sync(&self) -> io::Result<()> {
        let then = |power: &mut Power, ()| {
            let file = &mut power.files[self.id];
            for change in std::mem::take(&mut file.pending) {
                change.apply(&mut file.durable);
            }
        };
        let note = |power: &mut Power| {
            let is_segment = |path: &PathBuf| path.to_string_lossy().ends_with(".seg");
            let mut names = power.names.iter().filter(|(_, id)| **id == self.id);
            if power.forgets && names.any(|(path, _)| is_segment(path)) {
                power.files[self.id].pending.clear();
                return Err(io::Error::other("the flush failed"));
            }
            Ok(())
        };
        self.disk.change(note, then)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let note = |power: &mut Power| {
            power.files[self.id].pending.push(Change::SetLen(len));
            self.file.set_len(len)
        };
        self.disk.change(note, |_, ()| {})
    }

    fn reserve(&self, len: u64) -> io::Result<bool> {
        let note = |power: &mut Power| {
            power.files[self.id].pending.push(Change::Grow(len));
            let now = self.file.len()?;
            self.file.set_len(now.max(len))
        };
        self.disk.change(note, |_, ()| {})?;
        Ok(true)
    }

    fn map(&self, len: usize) -> io::Result<Mapping> {
        self.file.map(len)
    }
}
