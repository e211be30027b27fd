//! What a power failure leaves of a recorded folder.

use std::collections::BTreeMap;
use std::path::Path;

use crate::disk::{FOLDER, FileId, Step};
use crate::random::Random;

/// Sectors reach the disk whole or not at all.
const SECTOR: u64 = 512;

/// What becomes of the writes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// None of them reached the disk.
    Dropped,
    /// All of them did.
    Kept,
    /// Each sector of each did, or not, as it happened: so many of sixteen.
    Torn(u64),
}

impl Fate {
    pub fn any(random: &mut Random) -> Fate {
        match random.below(6) {
            0 => Fate::Dropped,
            1 => Fate::Kept,
            2 => Fate::Torn(1),
            3 => Fate::Torn(15),
            _ => Fate::Torn(8),
        }
    }

    fn keeps(self, random: &mut Random) -> bool {
        match self {
            Fate::Dropped => false,
            Fate::Kept => true,
            Fate::Torn(of_sixteen) => random.below(16) < of_sixteen,
        }
    }
}

#[derive(Debug, Default)]
struct File {
    durable: Vec<u8>,
    /// Not synced: the steps, by their numbers.
    pending: Vec<usize>,
}

/// The disk after some of the steps.
pub struct Disk<'a> {
    steps: &'a [Step],
    done: usize,
    files: BTreeMap<FileId, File>,
    /// The folder's entries that are durable, and the steps that are not.
    entries: BTreeMap<String, FileId>,
    pending: Vec<usize>,
    /// The syncs under way: of which file, and since which step.
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

    /// Does the steps up to number `until`, and gives `noted` what the program said.
    pub fn advance(&mut self, until: usize, mut noted: impl FnMut(&str)) {
        for number in self.done..until {
            match &self.steps[number] {
                Step::Note(text) => noted(text),
                Step::Create { .. } | Step::Unlink { .. } => self.pending.push(number),
                Step::Write { file, .. } | Step::Truncate { file, .. } => {
                    self.files.entry(*file).or_default().pending.push(number);
                }
                Step::SyncFails { file } => {
                    // The same ones in every image of this record.
                    let mut lost = Random::new(number as u64);
                    let file = self.files.entry(*file).or_default();
                    file.pending.retain(|_| lost.one_in(2));
                }
                Step::SyncBegins { file, sync } => {
                    self.syncs.insert(*sync, (*file, number));
                }
                Step::SyncEnds { sync } => {
                    if let Some((file, since)) = self.syncs.remove(sync) {
                        self.synced(file, since);
                    }
                }
            }
        }
        self.done = until;
    }

    fn synced(&mut self, file: FileId, since: usize) {
        let steps = self.steps;
        let durable = |pending: &mut Vec<usize>, apply: &mut dyn FnMut(&Step)| {
            let later = pending.partition_point(|number| *number < since);
            pending.drain(..later).for_each(|number| apply(&steps[number]));
        };
        if file == FOLDER {
            let entries = &mut self.entries;
            durable(&mut self.pending, &mut |step| enter(entries, step));
        } else {
            let file = self.files.entry(file).or_default();
            let content = &mut file.durable;
            durable(&mut file.pending, &mut |step| apply(content, step, &mut || true));
        }
    }

    /// Writes into `folder` what is found after the power failed now.
    pub fn write(&self, folder: &Path, fate: Fate, random: &mut Random) {
        let mut entries = self.entries.clone();
        // Folders are journaled: of their changes, the first so many are there.
        let changes = match fate {
            Fate::Dropped => 0,
            Fate::Kept => self.pending.len(),
            Fate::Torn(_) => random.below(self.pending.len() as u64 + 1) as usize,
        };
        for number in &self.pending[..changes] {
            enter(&mut entries, &self.steps[*number]);
        }
        for (name, id) in entries {
            // Made anew by whoever opens the file first.
            if name.ends_with("-shm") {
                continue;
            }
            let mut content = Vec::new();
            if let Some(file) = self.files.get(&id) {
                content.clone_from(&file.durable);
                for number in &file.pending {
                    apply(&mut content, &self.steps[*number], &mut || fate.keeps(random));
                }
            }
            std::fs::write(folder.join(name), content).unwrap();
        }
    }
}

fn enter(entries: &mut BTreeMap<String, FileId>, step: &Step) {
    match step {
        Step::Create { file, name } => drop(entries.insert(name.clone(), *file)),
        Step::Unlink { name } => drop(entries.remove(name)),
        _ => {}
    }
}

/// Does a step to a file's content, as far as `keeps` says for each sector.
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
