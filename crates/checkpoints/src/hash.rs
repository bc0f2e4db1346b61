//! Names of weight files by their contents, as model sites and the A1111 web UI write them into pictures.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::WeightsError;
use crate::safetensors::MAX_HEADER;

/// Hashes of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHashes {
    /// SHA-256 of the whole file, 64 hexadecimal digits.
    pub sha256: String,
    /// First 12 digits of the SHA-256 of the bytes after the header of a safetensors file: unchanged when notes are edited.
    pub autov3: Option<String>,
}

impl FileHashes {
    /// The ten digits that A1111 shows ("Model hash", AutoV2).
    pub fn short(&self) -> &str {
        &self.sha256[..10]
    }
}

/// Reads a file once, front to back, and hashes it.
///
/// # Errors
/// When the file cannot be read.
pub fn hash_file(path: impl AsRef<Path>) -> Result<FileHashes, WeightsError> {
    let path = path.as_ref();
    let failed = |e| WeightsError::io(path, "read", e);
    let mut file = File::open(path).map_err(failed)?;
    let mut head = [0u8; 9];
    let mut got = 0;
    while got < head.len() {
        match file.read(&mut head[got..]).map_err(failed)? {
            0 => break,
            n => got += n,
        }
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let header = u64::from_le_bytes([head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7]]);
    let data_start = (got == 9 && head[8] == b'{' && header <= MAX_HEADER as u64).then_some(8 + header);

    let (mut whole, mut data) = (Sha256::new(), Sha256::new());
    let mut buffer = vec![0u8; 1 << 20];
    let mut at = 0u64;
    loop {
        let n = file.read(&mut buffer).map_err(failed)?;
        if n == 0 {
            break;
        }
        whole.update(&buffer[..n]);
        if let Some(start) = data_start {
            let skip = usize::try_from(start.saturating_sub(at)).unwrap_or(usize::MAX).min(n);
            data.update(&buffer[skip..n]);
        }
        at += n as u64;
    }
    let autov3 = data_start.map(|_| hex(data)[..12].to_owned());
    Ok(FileHashes { sha256: hex(whole), autov3 })
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha256sum() {
        let path = std::env::temp_dir().join(format!("danqing-hash-{}", std::process::id()));
        std::fs::write(&path, b"abc").unwrap();
        let hashes = hash_file(&path).unwrap();
        assert_eq!(hashes.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!((hashes.short(), hashes.autov3.as_deref()), ("ba7816bf8f", None));
        // An empty safetensors file followed by "abc": AutoV3 is the hash of "abc" alone.
        std::fs::write(&path, b"\x02\0\0\0\0\0\0\0{}abc").unwrap();
        assert_eq!(hash_file(&path).unwrap().autov3.as_deref(), Some("ba7816bf8f01"));
        std::fs::remove_file(&path).unwrap();
    }
}
