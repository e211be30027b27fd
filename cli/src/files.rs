//! Files of events: plain, or compressed if the name ends with `.zst`; `-` is stdin or stdout.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::exit::Failure;

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
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
    let file = File::open(path).map_err(of_file(path))?;
    let total = file.metadata().ok().filter(fs::Metadata::is_file).map(|file| file.len());
    let inner = BufReader::with_capacity(1 << 18, Counted { inner: file, done: Arc::clone(&done) });
    let reader: Box<dyn Read + Send> = match is_compressed(path) {
        true => Box::new(zstd::Decoder::with_buffer(inner).map_err(of_file(path))?),
        false => Box::new(inner),
    };
    Ok(Input { reader, total, done })
}

/// A file that is written under a temporary name, and gets its own when it is complete.
pub struct Output {
    /// Nothing after the end.
    writer: Option<Writer>,
    /// The temporary path and the path.
    paths: Option<(PathBuf, PathBuf)>,
}

enum Writer {
    Stdout(BufWriter<io::Stdout>),
    Plain(BufWriter<File>),
    Compressed(Box<zstd::Encoder<'static, BufWriter<File>>>),
}

/// The level at which a file is compressed, which is that of the program `zstd`.
const LEVEL: i32 = 3;

impl Output {
    /// Creates a file of events. A file that is there already is only replaced if `force` says so.
    pub fn create(path: &Path, force: bool) -> Result<Self, Failure> {
        if is_standard(path) {
            let writer = Writer::Stdout(BufWriter::with_capacity(1 << 18, io::stdout()));
            return Ok(Output { writer: Some(writer), paths: None });
        }
        if !force && path.symlink_metadata().is_ok() {
            return Err(Failure::usage(format!(
                "{}: there is a file already: use --force to replace it",
                path.display()
            )));
        }
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}.part", std::process::id()));
        let draft = PathBuf::from(draft);
        let file = File::create(&draft).map_err(of_file(&draft))?;
        let file = BufWriter::with_capacity(1 << 18, file);
        let writer = match is_compressed(path) {
            true => {
                let mut encoder = zstd::Encoder::new(file, LEVEL).map_err(of_file(path))?;
                // A reader notices damage.
                encoder.include_checksum(true).map_err(of_file(path))?;
                Writer::Compressed(Box::new(encoder))
            }
            false => Writer::Plain(file),
        };
        Ok(Output { writer: Some(writer), paths: Some((draft, path.to_owned())) })
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match (&mut self.writer, &self.paths) {
            (Some(Writer::Stdout(out)), _) => Ok(out.write_all(bytes)?),
            (Some(Writer::Plain(out)), Some((_, path))) => {
                out.write_all(bytes).map_err(of_file(path))
            }
            (Some(Writer::Compressed(out)), Some((_, path))) => {
                out.write_all(bytes).map_err(of_file(path))
            }
            _ => Ok(()),
        }
    }

    /// Ends the file and gives it its name.
    pub fn finish(mut self) -> Result<(), Failure> {
        let (file, (draft, path)) = match (self.writer.take(), &self.paths) {
            (Some(Writer::Plain(file)), Some(paths)) => (file, paths),
            (Some(Writer::Compressed(encoder)), Some(paths)) => {
                (encoder.finish().map_err(of_file(&paths.1))?, paths)
            }
            (Some(Writer::Stdout(mut out)), _) => return Ok(out.flush()?),
            _ => return Ok(()),
        };
        let file = file.into_inner().map_err(|error| of_file(path)(error.into_error()))?;
        file.sync_all().map_err(of_file(path))?;
        fs::rename(draft, path).map_err(of_file(path))?;
        self.paths = None;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some((draft, _)) = &self.paths {
            // It is incomplete. That it stays where it cannot be deleted is no harm.
            let _ = fs::remove_file(draft);
        }
    }
}
