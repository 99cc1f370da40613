//! The directory of a cluster whose nodes keep their files: one for each node in it, and a mark as
//! long as they have not become a cluster.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{LocalClusterError, directory_error};

/// Where all nodes of a cluster have their files.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// There is no cluster in it yet.
    pub(super) is_new: bool,
}

impl Directory {
    /// Makes what is not there yet. What is left of nodes that have never become a cluster goes.
    pub(super) fn open(path: &Path, nodes: usize) -> Result<Self, LocalClusterError> {
        let path = std::path::absolute(path).map_err(|error| directory_error(path, &error))?;
        let opened = prepare(&path, nodes);
        match opened.map_err(|error| directory_error(&path, &error))? {
            0 => Ok(Self { path, is_new: true }),
            found if found == nodes => Ok(Self {
                path,
                is_new: false,
            }),
            found => Err(LocalClusterError::Size {
                path: path.display().to_string(),
                found,
                wanted: nodes,
            }),
        }
    }

    pub(super) fn of_node(&self, index: usize) -> PathBuf {
        of_node(&self.path, index)
    }

    /// The nodes are a cluster now.
    pub(super) fn has_cluster(&self) -> Result<(), LocalClusterError> {
        if !self.is_new {
            return Ok(());
        }
        let removed = fs::remove_file(self.path.join(MARK))
            // Else the keys could be taken for leftovers after a crash of the machine.
            .and_then(|()| File::open(&self.path)?.sync_all());
        removed.map_err(|error| directory_error(&self.path, &error))
    }
}

/// How many nodes were there already. If there were none, there are directories for them now.
fn prepare(path: &Path, nodes: usize) -> io::Result<usize> {
    fs::create_dir_all(path)?;
    let mark = path.join(MARK);
    let found = count(path);
    if found > 0 && !mark.exists() {
        return Ok(found);
    }
    File::create(mark)?.sync_all()?;
    for index in 0..found {
        fs::remove_dir_all(of_node(path, index))?;
    }
    for index in 0..nodes {
        fs::create_dir(of_node(path, index))?;
    }
    File::open(path)?.sync_all()?;
    Ok(0)
}

pub(super) fn count(path: &Path) -> usize {
    (0..)
        .take_while(|index| of_node(path, *index).is_dir())
        .count()
}

/// By number and not by port, so that the cluster can be started at other ports.
fn of_node(path: &Path, index: usize) -> PathBuf {
    path.join(format!("node-{}", index + 1))
}

/// A file of that name says that the nodes have not become a cluster.
const MARK: &str = "being-created";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_was_a_cluster_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster");
        let directory = Directory::open(&path, 3).unwrap();
        let file = directory.of_node(2).join("nodes.conf");
        fs::write(&file, "").unwrap();
        fs::write(path.join("mine"), "").unwrap();
        let directory = Directory::open(&path, 2).unwrap();
        assert!(directory.is_new && !file.exists());
        assert!(!directory.of_node(2).exists() && path.join("mine").exists());
        let file = directory.of_node(1).join("nodes.conf");
        fs::write(&file, "").unwrap();
        directory.has_cluster().unwrap();
        let directory = Directory::open(&path, 2).unwrap();
        directory.has_cluster().unwrap();
        assert!(!directory.is_new && file.exists());
    }

    #[test]
    fn another_number_of_nodes_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path(), 3).unwrap();
        directory.has_cluster().unwrap();
        assert_eq!(count(folder.path()), 3);
        let error = Directory::open(folder.path(), 4).unwrap_err().to_string();
        assert!(
            error.ends_with("has the files of 3 nodes, not of 4"),
            "{error}"
        );
    }
}
