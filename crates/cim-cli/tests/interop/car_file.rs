//! CAR files as lists of blocks, to compare and to alter.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use cim_ipld::car::{CarReader, CarWriter};
use cim_ipld::{Block, Cid};

/// What a CAR file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CarFile {
    pub(crate) version: u8,
    pub(crate) roots: Vec<Cid>,
    pub(crate) blocks: Vec<Block>,
}

impl CarFile {
    /// Reads a file in which every block must be what its CID says.
    pub(crate) fn read(path: &Path) -> Self {
        let mut reader = CarReader::new(File::open(path).unwrap()).unwrap();
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            blocks.push(block.to_block());
        }
        Self {
            version: reader.version(),
            roots: reader.roots().to_vec(),
            blocks,
        }
    }

    pub(crate) fn write(&self, path: &Path) {
        let file = BufWriter::new(File::create(path).unwrap());
        let mut writer = CarWriter::new(file, &self.roots).unwrap();
        for block in &self.blocks {
            writer.write_block(&block.cid, &block.bytes).unwrap();
        }
        writer.finish().unwrap().flush().unwrap();
    }

    /// The blocks' CIDs as text, in the order of the file.
    pub(crate) fn cids(&self) -> Vec<String> {
        self.blocks
            .iter()
            .map(|block| block.cid.to_string())
            .collect()
    }
}
