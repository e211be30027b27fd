//! The state of a recorded folder after a power failure.

use std::collections::BTreeMap;
use std::path::Path;

use crate::disk::{FOLDER, FileId, Step};
use crate::random::Random;

/// The size of a sector, which reaches the disk as a whole or not at all.
const SECTOR: u64 = 512;

/// What happens in a power failure to the writes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsyncedWrites {
    /// None of the writes reached the disk.
    Dropped,
    /// All writes reached the disk.
    Kept,
    /// Each sector of each write reached the disk with a chance of this many in sixteen.
    Torn(u64),
}

impl UnsyncedWrites {
    pub fn any(random: &mut Random) -> UnsyncedWrites {
        match random.below(6) {
            0 => UnsyncedWrites::Dropped,
            1 => UnsyncedWrites::Kept,
            2 => UnsyncedWrites::Torn(1),
            3 => UnsyncedWrites::Torn(15),
            _ => UnsyncedWrites::Torn(8),
        }
    }

    fn keeps(self, random: &mut Random) -> bool {
        match self {
            UnsyncedWrites::Dropped => false,
            UnsyncedWrites::Kept => true,
            UnsyncedWrites::Torn(of_sixteen) => random.below(16) < of_sixteen,
        }
    }
}

#[derive(Debug, Default)]
struct File {
    durable: Vec<u8>,
    /// The numbers of the steps that are not synced.
    pending: Vec<usize>,
}

/// The state of the disk after some of the steps.
pub struct Disk<'a> {
    steps: &'a [Step],
    done: usize,
    files: BTreeMap<FileId, File>,
    /// The durable entries of the folder.
    entries: BTreeMap<String, FileId>,
    /// The numbers of the steps that change entries and are not synced.
    pending: Vec<usize>,
    /// The syncs in progress: their file, and the step at which each started.
    syncs: BTreeMap<usize, (FileId, usize)>,
}

impl<'a> Disk<'a> {
    pub fn new(steps: &'a [Step]) -> Self {
        Disk {
            steps,
            done: 0,
            files: BTreeMap::new(),
            entries: BTreeMap::new(),
            pending: Vec::new(),
            syncs: BTreeMap::new(),
        }
    }

    /// Applies the steps up to number `until`, and calls `noted` with the notes of the program.
    pub fn advance(&mut self, until: usize, mut noted: impl FnMut(&str)) {
        for number in self.done..until {
            match &self.steps[number] {
                Step::Note(text) => noted(text),
                Step::Create { .. } | Step::Unlink { .. } => self.pending.push(number),
                Step::Write { file, .. } | Step::Truncate { file, .. } => {
                    self.files.entry(*file).or_default().pending.push(number);
                }
                Step::SyncFails { file } => {
                    // Loses the same writes in every image of this recording.
                    let mut lost = Random::new(number as u64);
                    let file = self.files.entry(*file).or_default();
                    file.pending.retain(|_| lost.one_in(2));
                }
                Step::SyncBegins { file, sync } => {
                    self.syncs.insert(*sync, (*file, number));
                }
                Step::SyncEnds { sync } => {
                    if let Some((file, since)) = self.syncs.remove(sync) {
                        self.complete_sync(file, since);
                    }
                }
            }
        }
        self.done = until;
    }

    /// Makes the changes of `file` durable that were made before step `since`.
    fn complete_sync(&mut self, file: FileId, since: usize) {
        let steps = self.steps;
        let durable = |pending: &mut Vec<usize>, apply: &mut dyn FnMut(&Step)| {
            let later = pending.partition_point(|number| *number < since);
            pending.drain(..later).for_each(|number| apply(&steps[number]));
        };
        if file == FOLDER {
            let entries = &mut self.entries;
            durable(&mut self.pending, &mut |step| apply_entry(entries, step));
        } else {
            let file = self.files.entry(file).or_default();
            let content = &mut file.durable;
            durable(&mut file.pending, &mut |step| apply(content, step, &mut || true));
        }
    }

    /// Writes the files that are found if the power fails now into `folder`.
    pub fn write(&self, folder: &Path, unsynced: UnsyncedWrites, random: &mut Random) {
        let mut entries = self.entries.clone();
        // File systems journal folders, so the changes up to some point are kept and the rest is
        // lost.
        let changes = match unsynced {
            UnsyncedWrites::Dropped => 0,
            UnsyncedWrites::Kept => self.pending.len(),
            UnsyncedWrites::Torn(_) => random.below(self.pending.len() as u64 + 1) as usize,
        };
        for number in &self.pending[..changes] {
            apply_entry(&mut entries, &self.steps[*number]);
        }
        for (name, id) in entries {
            // The shared memory does not survive: the first process that opens the store creates it.
            if name.ends_with("-shm") {
                continue;
            }
            let mut content = Vec::new();
            if let Some(file) = self.files.get(&id) {
                content.clone_from(&file.durable);
                for number in &file.pending {
                    apply(&mut content, &self.steps[*number], &mut || unsynced.keeps(random));
                }
            }
            std::fs::write(folder.join(name), content).unwrap();
        }
    }
}

fn apply_entry(entries: &mut BTreeMap<String, FileId>, step: &Step) {
    match step {
        Step::Create { file, name } => drop(entries.insert(name.clone(), *file)),
        Step::Unlink { name } => drop(entries.remove(name)),
        _ => {}
    }
}

/// Applies a step to a file's content, for the sectors that `keeps` selects.
fn apply(content: &mut Vec<u8>, step: &Step, keeps: &mut dyn FnMut() -> bool) {
    match step {
        Step::Truncate { len, .. } if keeps() => content.resize(*len as usize, 0),
        Step::Write { offset, data, .. } => {
            let (mut at, end) = (*offset, *offset + data.len() as u64);
            while at < end {
                let next = ((at / SECTOR + 1) * SECTOR).min(end);
                if keeps() {
                    if (content.len() as u64) < next {
                        content.resize(next as usize, 0);
                    }
                    let from = &data[(at - offset) as usize..(next - offset) as usize];
                    content[at as usize..next as usize].copy_from_slice(from);
                }
                at = next;
            }
        }
        _ => {}
    }
}
