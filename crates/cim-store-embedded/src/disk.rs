//! The files underneath a store.
//!
//! [`Disk`] is what the engine asks of a file system, and no more. [`RealDisk`] is the machine's
//! own; tests put disks in its place that fill up, fail, or lose what was not flushed.
//!
//! A disk that is the machine's own until a test says that it is full:
//!
//! ```
//! use std::io;
//! use std::path::Path;
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicBool, Ordering};
//!
//! use cim_store::{Context, EventLogExt, ExpectedVersion, Fault, NewEvent, Store, StreamId};
//! use cim_store_embedded::disk::{Disk, DiskFile, RealDisk};
//! use cim_store_embedded::{EmbeddedSettings, EmbeddedStore, Mapping};
//!
//! #[derive(Clone, Debug, Default)]
//! struct Filling {
//!     full: Arc<AtomicBool>,
//! }
//!
//! impl Filling {
//!     fn check(&self) -> io::Result<()> {
//!         match self.full.load(Ordering::SeqCst) {
//!             true => Err(io::ErrorKind::StorageFull.into()),
//!             false => Ok(()),
//!         }
//!     }
//!
//!     fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
//!         Arc::new(FileOf { disk: self.clone(), file })
//!     }
//! }
//!
//! impl Disk for Filling {
//!     fn create_dir(&self, path: &Path) -> io::Result<()> { RealDisk.create_dir(path) }
//!     fn list(&self, directory: &Path) -> io::Result<Vec<String>> { RealDisk.list(directory) }
//!     fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
//!         Ok(self.file(RealDisk.open(path, create)?))
//!     }
//!     fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
//!         Ok(self.file(RealDisk.open_to_read(path)?))
//!     }
//!     fn rename(&self, from: &Path, to: &Path) -> io::Result<()> { RealDisk.rename(from, to) }
//!     fn remove(&self, path: &Path) -> io::Result<()> { RealDisk.remove(path) }
//!     fn sync_dir(&self, path: &Path) -> io::Result<()> { RealDisk.sync_dir(path) }
//! }
//!
//! #[derive(Debug)]
//! struct FileOf {
//!     disk: Filling,
//!     file: Arc<dyn DiskFile>,
//! }
//!
//! impl DiskFile for FileOf {
//!     fn len(&self) -> io::Result<u64> { self.file.len() }
//!     fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
//!         self.file.read_at(buffer, offset)
//!     }
//!     fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
//!         self.disk.check()?;
//!         self.file.write_at(bytes, offset)
//!     }
//!     fn sync(&self) -> io::Result<()> { self.file.sync() }
//!     fn set_len(&self, len: u64) -> io::Result<()> { self.file.set_len(len) }
//!     fn reserve(&self, len: u64) -> io::Result<bool> {
//!         self.disk.check()?;
//!         self.file.reserve(len)
//!     }
//!     fn map(&self, len: usize) -> io::Result<Mapping> { self.file.map(len) }
//!     fn rest(&self, path: &Path) { self.file.rest(path) }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("data");
//! let (disk, ctx) = (Filling::default(), Context::new());
//! let settings = EmbeddedSettings::default().with_disk(Arc::new(disk.clone()));
//! let store = EmbeddedStore::open(&path, settings).await?;
//! let stream = StreamId::new("sales", "order", "7")?;
//! let placed = || NewEvent::json("order_placed", &12);
//! store.log().append_to(&ctx, &stream, ExpectedVersion::NEW, vec![placed()?]).await?;
//!
//! disk.full.store(true, Ordering::SeqCst);
//! let next = store.log().append_to(&ctx, &stream, ExpectedVersion::Exists, vec![placed()?]).await;
//! assert_eq!(next.unwrap_err().fault(), Some(Fault::Unavailable));
//! // What was acknowledged before is there.
//! assert_eq!(store.log().version(&ctx, &stream).await?.get(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::mapping::Mapping;

/// What the engine asks of a file system.
pub trait Disk: Send + Sync + fmt::Debug + 'static {
    /// Makes a directory and those above it; no error when it is there.
    ///
    /// # Errors
    /// As the system reports them.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, in any order.
    ///
    /// # Errors
    /// As the system reports them.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing; with `create` it is made and must not exist.
    ///
    /// # Errors
    /// As the system reports them.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading only.
    ///
    /// # Errors
    /// As the system reports them.
    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path, false)
    }

    /// Puts a file in the place of another, as one step also across a crash. Not durable before
    /// [`sync_dir`](Self::sync_dir).
    ///
    /// # Errors
    /// As the system reports them.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; no error when it is not there.
    ///
    /// # Errors
    /// As the system reports them.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the system reports them.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug + 'static {
    /// Its length in bytes.
    ///
    /// # Errors
    /// As the system reports them.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// As the system reports them.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// As the system reports them.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// As the system reports them; then any part of it may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// As the system reports them; then nothing is known of what was written since the last
    /// success.
    fn sync(&self) -> io::Result<()>;

    /// Cuts or extends it to this length.
    ///
    /// # Errors
    /// As the system reports them.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves disk space up to `len` and extends the file to it with zeros. `Ok(false)` where
    /// the file system can't.
    ///
    /// # Errors
    /// As the system reports them; a full disk is one.
    fn reserve(&self, len: u64) -> io::Result<bool>;

    /// Maps the first `len` bytes for reading; what is written to them later shows in it. Bytes past
    /// the end of the file must not be read.
    ///
    /// # Errors
    /// As the system reports them.
    fn map(&self, len: usize) -> io::Result<Mapping>;

    /// Says that the file, which has this name by now, will not be written any more and is read now
    /// and then at most. It need not be kept open for that.
    fn rest(&self, _path: &Path) {}
}

/// The machine's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        std::fs::read_dir(directory)?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(create)
            .open(path)?;
        Ok(real(file))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        File::open(path).map(real)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// A file that is kept open until it [rests](DiskFile::rest); from then on it is opened for every
/// read, so that a long log does not use up the files that a process can have open.
#[derive(Debug)]
struct RealFile(RwLock<Handle>);

#[derive(Clone, Debug)]
enum Handle {
    Open(Arc<File>),
    At(PathBuf),
}

fn real(file: File) -> Arc<dyn DiskFile> {
    Arc::new(RealFile(RwLock::new(Handle::Open(Arc::new(file)))))
}

impl RealFile {
    fn with<T>(&self, act: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        let handle = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match handle {
            Handle::Open(file) => act(&file),
            Handle::At(path) => act(&File::open(path)?),
        }
    }
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|file| file.metadata().map(|metadata| metadata.len()))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|file| {
            let mut filled = 0;
            while filled < buffer.len() {
                match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(filled)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|file| file.write_all_at(bytes, offset))
    }

    fn sync(&self) -> io::Result<()> {
        self.with(File::sync_data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|file| file.set_len(len))
    }

    #[cfg(target_os = "linux")]
    fn reserve(&self, len: u64) -> io::Result<bool> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        self.with(
            |file| match fallocate(file, FallocateFlags::empty(), 0, len) {
                Ok(()) => Ok(true),
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
                Err(errno) => Err(errno.into()),
            },
        )
    }

    #[cfg(not(target_os = "linux"))]
    fn reserve(&self, _len: u64) -> io::Result<bool> {
        Ok(false)
    }

    fn map(&self, len: usize) -> io::Result<Mapping> {
        self.with(|file| Mapping::of(file, len))
    }

    fn rest(&self, path: &Path) {
        let path = path.to_owned();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Handle::At(path);
    }
}

/// Reads a small file whole.
///
/// # Errors
/// As the system reports them.
pub(crate) fn read_whole(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, false)?;
    let len = file.len()?;
    let len = usize::try_from(len.min(64 << 20)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Puts a small file in the place of another: whole and durable, or not at all.
///
/// # Errors
/// As the system reports them.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let fresh = directory.join(name);
    disk.remove(&fresh)?;
    let file = disk.open(&fresh, true)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&fresh, path)?;
    disk.sync_dir(directory)
}
