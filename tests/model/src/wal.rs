//! A disk that can fail as Linux has it: what could not be written is lost for good, and the syncs
//! that come after say that all is well.

use std::sync::Arc;

use crate::commit::durability::Log;
use crate::error::{Error, Result, Status};
use crate::play::Disk;

/// The log of one opening of the store.
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
