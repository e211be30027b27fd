//! A WAL on a disk that fails as Linux reports it: pages that could not be written are lost, and
//! later syncs report success.

use std::sync::Arc;

use crate::commit::durability::Log;
use crate::error::{Error, Result, Status};
use crate::play::Disk;

/// The WAL of one opening of the store.
#[derive(Debug)]
pub struct Wal(pub Arc<Disk>);

impl Log for Wal {
    fn sync(&self) -> Result<()> {
        if self.0.sync(Disk::OURS) {
            Ok(())
        } else {
            Err(Error::new(Status::Io, "the disk failed"))
        }
    }
}
