//! Files of events: plain, or compressed if the name ends with `.zst`; `-` is stdin or stdout.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::exit::Failure;
use crate::store;

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}

/// Refuses a name that is the URI of a store, or the name of a file that is compressed in another way.
fn check_name(path: &Path, instead: &str) -> Result<(), Failure> {
    let shown = path.display();
    if path.to_str().is_some_and(store::is_uri) {
        return Err(Failure::usage(format!(
            "{shown} names a store and not a file of events: from store to store, use dcb copy"
        )));
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some(other @ ("gz" | "bz2" | "xz" | "lz4" | "zip")) => Err(Failure::usage(format!(
            "{shown}: a file of events is plain or compressed with zstd, as {}: for .{other}, use a \
             pipe, {instead}",
            path.with_extension("zst").display()
        ))),
        _ => Ok(()),
    }
}

fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn of_file(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |error| {
        let failure = match error.kind() {
            io::ErrorKind::NotFound => Failure::not_found(error.to_string()),
            _ => Failure::new(error.to_string()),
        };
        failure.at(&path.display().to_string())
    }
}

/// A file that is read, and how much of it is.
pub struct Input {
    /// What is in the file.
    pub reader: Box<dyn Read + Send>,
    /// The bytes of the file, if it has an end that is known.
    pub total: Option<u64>,
    /// The bytes of the file that were read.
    pub done: Arc<AtomicU64>,
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    done: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.done.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Opens a file of events.
pub fn open(path: &Path) -> Result<Input, Failure> {
    let done = Arc::new(AtomicU64::new(0));
    if is_standard(path) {
        let inner = Counted { inner: io::stdin(), done: Arc::clone(&done) };
        return Ok(Input { reader: Box::new(inner), total: None, done });
    }
    check_name(path, "such as gzip -dc FILE | dcb import URI")?;
    let file = File::open(path).map_err(of_file(path))?;
    if file.metadata().is_ok_and(|file| file.is_dir()) {
        return Err(
            Failure::new("this is a folder: name a file in it").at(&path.display().to_string())
        );
    }
    let total = file.metadata().ok().filter(fs::Metadata::is_file).map(|file| file.len());
    let inner = BufReader::with_capacity(1 << 18, Counted { inner: file, done: Arc::clone(&done) });
    let reader: Box<dyn Read + Send> = match is_compressed(path) {
        true => Box::new(zstd::Decoder::with_buffer(inner).map_err(of_file(path))?),
        false => Box::new(inner),
    };
    Ok(Input { reader, total, done })
}

/// A file that is written under a temporary name, and gets its own when it is complete.
///
/// A thread writes it, and compresses it: that is as much work as making what is written.
pub struct Output {
    /// What is to be written next.
    buffer: Vec<u8>,
    /// Nothing after the end, or after the thread has failed.
    thread: Option<WriterThread>,
    /// The temporary path and the path.
    paths: Option<(PathBuf, PathBuf)>,
}

/// How much is written at once.
const BUFFER: usize = 1 << 18;
/// The buffers that are filled before they are written.
const AHEAD: usize = 2;
/// The level at which a file is compressed, which is that of the program `zstd`.
const LEVEL: i32 = 3;

struct WriterThread {
    sender: SyncSender<Vec<u8>>,
    /// Ends when the sender is gone, or when it fails.
    handle: JoinHandle<io::Result<()>>,
}

impl WriterThread {
    fn new(mut writer: Writer) -> Self {
        let (sender, receiver) = sync_channel::<Vec<u8>>(AHEAD);
        let handle = thread::spawn(move || {
            for buffer in receiver {
                writer.write_all(&buffer)?;
            }
            writer.finish()
        });
        WriterThread { sender, handle }
    }

    /// Waits until all is written.
    fn finish(self) -> io::Result<()> {
        drop(self.sender);
        self.handle.join().unwrap_or_else(|_| Err(io::Error::other("an internal error")))
    }
}

enum Writer {
    Stdout(io::Stdout),
    Plain(File),
    Compressed(Box<zstd::Encoder<'static, File>>),
}

impl Writer {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Writer::Stdout(out) => out.write_all(bytes),
            Writer::Plain(out) => out.write_all(bytes),
            Writer::Compressed(out) => out.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Writer::Stdout(mut out) => out.flush(),
            Writer::Plain(file) => file.sync_all(),
            Writer::Compressed(encoder) => encoder.finish()?.sync_all(),
        }
    }
}

impl Output {
    /// Creates a file of events. A file that is there already is only replaced if `force` says so.
    pub fn create(path: &Path, force: bool) -> Result<Self, Failure> {
        if is_standard(path) {
            return Ok(Output::new(Writer::Stdout(io::stdout()), None));
        }
        check_name(path, "such as dcb export URI | gzip > FILE")?;
        if !force && path.symlink_metadata().is_ok() {
            return Err(Failure::usage(format!(
                "{}: there is a file already: use --force to replace it",
                path.display()
            )));
        }
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}.part", std::process::id()));
        let draft = PathBuf::from(draft);
        let file = File::create(&draft).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Failure::not_found("its folder does not exist: create that first")
                    .at(&path.display().to_string())
            }
            _ => of_file(path)(error),
        })?;
        let writer = match is_compressed(path) {
            true => {
                let mut encoder = zstd::Encoder::new(file, LEVEL).map_err(of_file(path))?;
                // A reader notices damage.
                encoder.include_checksum(true).map_err(of_file(path))?;
                Writer::Compressed(Box::new(encoder))
            }
            false => Writer::Plain(file),
        };
        Ok(Output::new(writer, Some((draft, path.to_owned()))))
    }

    fn new(writer: Writer, paths: Option<(PathBuf, PathBuf)>) -> Self {
        let thread = Some(WriterThread::new(writer));
        Output { buffer: Vec::with_capacity(BUFFER), thread, paths }
    }

    /// Adds bytes. A failure may be that of bytes which were added before.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < BUFFER { Ok(()) } else { self.pass_on() }
    }

    /// Passes what is in the buffer to the thread.
    fn pass_on(&mut self) -> Result<(), Failure> {
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(BUFFER));
        if self.thread.as_ref().is_some_and(|thread| thread.sender.send(full).is_err()) {
            // The thread has ended, so it has failed.
            self.join()?;
        }
        Ok(())
    }

    /// Waits for the thread, and returns what it failed on.
    fn join(&mut self) -> Result<(), Failure> {
        let written = self.thread.take().map_or(Ok(()), WriterThread::finish);
        match &self.paths {
            Some((_, path)) => written.map_err(of_file(path)),
            None => Ok(written?),
        }
    }

    /// Ends the file and gives it its name.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.pass_on()?;
        self.join()?;
        if let Some((draft, path)) = &self.paths {
            fs::rename(draft, path).map_err(of_file(path))?;
        }
        self.paths = None;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // What it fails on now is of no interest.
            let _ = thread.finish();
        }
        if let Some((draft, _)) = &self.paths {
            // It is incomplete. That it stays where it cannot be deleted is no harm.
            let _ = fs::remove_file(draft);
        }
    }
}
