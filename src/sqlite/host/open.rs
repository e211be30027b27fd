//! Opening a store on the host's connections.
//!
//! It shares with `sqlite/open` how the index is loaded (`StoreState::for_writing`). The rest differs:
//! on its own connections the library chooses the journal mode, checkpoints the WAL and starts a
//! thread. Here the database may be in use by the program, and the library may do none of that.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use crate::commit::deadline::{CallOptions, Deadline};
use crate::commit::fair_mutex::FairMutex;
use crate::commit::group_commit::GroupCommit;
use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::sql::host::Host;
use crate::sqlite::append::turns::Turns;
use crate::sqlite::connection::transaction::{begin_immediate, commit};
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::host::connection::HostConnection;
use crate::sqlite::host::identity::{mark_in_memory, path_of};
use crate::sqlite::host::maintenance::HostMaintenance;
use crate::sqlite::host::poll::HostPoll;
use crate::sqlite::host::store::{HostStore, HostWriter, lend};
use crate::sqlite::index::segment_list::SegmentsCache;
use crate::sqlite::maintenance::segments::{draft_segment, store_segment};
use crate::sqlite::schema::{
    FORMAT, FileKind, create_within, detect, format_of, no_store, upgrade_within,
};
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::state::StoreState;
use crate::sqlite::wal::host_wal::HostWal;
use crate::sqlite::wal::wal_file::Wal;
use crate::store::options::Options;

impl HostStore {
    /// Opens the store in the host's database, and creates it if the options allow that. The program
    /// has chosen the database by lending its connections, so it may have other tables.
    pub fn open(host: Box<dyn Host>, options: &Options) -> Result<Self> {
        if options.is_read_only() {
            return Err(Error::invalid(
                "read_only: a store on the host's connections may do what they may",
            ));
        }
        options.check_without_readers()?;
        let busy_timeout = u64::try_from(options.busy_timeout_ms).ok().map(Duration::from_millis);
        let deadline = CallOptions::default().start(busy_timeout);
        let (connection, (kind, is_old, path)) = lend(&*host, &deadline, |connection| {
            connection.settle(false)?;
            connection.begin_look(&deadline, || {
                let kind = detect(connection)?;
                let is_old = kind == FileKind::Store
                    && format_of(connection)?.is_some_and(|format| format < FORMAT);
                Ok((kind, is_old, path_of(connection)?))
            })
        })?;
        connection.end();
        if is_old {
            begin_immediate(&connection, &deadline)?;
            upgrade_within(&connection)?;
            commit(&connection)?;
        }
        if kind != FileKind::Store {
            if !options.create {
                return Err(no_store());
            }
            begin_immediate(&connection, &deadline)?;
            create_within(&connection, true)?;
            commit(&connection)?;
        }
        let (identity, wal) = match &path {
            None => (Some(mark_in_memory(&connection, &deadline)?), None),
            Some(path) => (None, Some(Wal::Hosts(trusted_wal(&connection, path, &deadline)?))),
        };
        let segments = SegmentsCache::default();
        let (snapshot, indexed) = connection.begin_look(&deadline, || {
            let snapshot = Snapshot::take(&connection)?;
            let list = segments.at_version(&connection, snapshot.version)?;
            list.check(snapshot)?;
            Ok((snapshot, list.indexed()))
        })?;
        connection.end();
        let (mut shared, is_far_behind) =
            StoreState::for_writing(wal, Position::START, snapshot.head, segments, busy_timeout);
        shared.import = options.import;
        if path.is_some() {
            shared.commits.durability.ensure(snapshot.head)?;
            shared.commits.watch.publish(shared.commits.durability.durable());
        }
        let mut decoder = EventReader::default();
        if is_far_behind {
            while write_segment(&shared, &connection, &mut decoder, &deadline)? {}
        } else {
            connection.begin_look(&deadline, || {
                let snapshot = Snapshot::take(&connection)?;
                Ok(shared.index.tail.catch_up(&connection, &mut decoder, snapshot, indexed)?)
            })?;
            connection.end();
        }
        drop(connection);
        let writer =
            HostWriter { decoder, turns: Turns::new(), maintenance: HostMaintenance::new() };
        Ok(HostStore {
            host,
            shared,
            path,
            identity,
            queue: GroupCommit::default(),
            writer: FairMutex::new(writer),
            overlay: Mutex::default(),
            poll: HostPoll::default(),
        })
    }
}

/// Writes the next segment of an index that is far behind. Returns whether there is more to write.
fn write_segment(
    shared: &StoreState,
    connection: &HostConnection<'_>,
    decoder: &mut EventReader,
    deadline: &Deadline,
) -> Result<bool> {
    begin_immediate(connection, deadline)?;
    let blocks = match draft_segment(shared, 1)? {
        Some(draft) => store_segment(shared, connection, decoder, draft)?,
        None => None,
    };
    commit(connection)?;
    let is_behind = connection.begin_look(deadline, || {
        let snapshot = Snapshot::take(connection)?;
        let segments = shared.index.segments.at_version(connection, snapshot.version)?;
        Ok(blocks.is_some() && segments.indexed() < snapshot.head)
    })?;
    connection.end();
    Ok(is_behind)
}

/// Returns the files beside the database, once what they hold is known to be on the disk. An earlier
/// sync may have failed, and the kernel reports that only once, so the WAL is written again.
fn trusted_wal(
    connection: &HostConnection<'_>,
    path: &Path,
    deadline: &Deadline,
) -> Result<HostWal> {
    let wal = HostWal::new(path)?;
    // No event of the WAL is shown before this sync.
    wal.sync()?;
    match begin_immediate(connection, deadline) {
        Ok(()) => {
            let written = wal.write_again();
            connection.end();
            written?;
            wal.sync()?;
        }
        // A connection that may only read cannot do it.
        Err(error) if error.status == Status::ReadOnly => connection.end(),
        Err(error) => return Err(error),
    }
    Ok(wal)
}
