//! What takes back the half that was done.

use std::fs;
use std::path::{Path, PathBuf};

/// Steps done so far. Dropped before [`Undo::keep`], it takes them back, the last one first.
#[derive(Debug, Default)]
pub(super) struct Undo(Vec<Step>);

#[derive(Debug)]
enum Step {
    /// A folder that was made; removed if nothing else is in it.
    Folder(PathBuf),
    /// A folder that is ours with all that is in it.
    Tree(PathBuf),
    /// A file that was written, and what was there before.
    File(PathBuf, Option<Vec<u8>>),
}

impl Undo {
    /// Makes a folder and those above it.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn make_folders(&mut self, path: &Path) -> std::io::Result<()> {
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
        for path in missing.into_iter().rev() {
            fs::create_dir(path)?;
            self.0.push(Step::Folder(path.to_path_buf()));
        }
        Ok(())
    }

    /// Notes a folder that is to vanish with all that is in it.
    pub(super) fn tree(&mut self, path: &Path) {
        self.0.push(Step::Tree(path.to_path_buf()));
    }

    /// Notes a file that is about to be written, over `before` if there was something.
    pub(super) fn file(&mut self, path: &Path, before: Option<Vec<u8>>) {
        self.0.push(Step::File(path.to_path_buf(), before));
    }

    /// All went well: nothing is taken back.
    pub(super) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        for step in self.0.drain(..).rev() {
            // Something failed already, and that is told; what can not be undone is left.
            let _ = match step {
                Step::Folder(path) => fs::remove_dir(path),
                Step::Tree(path) => fs::remove_dir_all(path),
                Step::File(path, Some(before)) => fs::write(path, before),
                Step::File(path, None) => fs::remove_file(path),
            };
        }
    }
}
