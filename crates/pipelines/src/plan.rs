//! The memory plan: the peak of a task before it starts, from shapes alone.
//!
//! Weights are counted as loaded; activations by the widest moment of each stage: for a U-Net the outermost level's
//! maps and skips, for an autoencoder the full-size maps of its last level.

use std::fmt;

use danqing_models::autoencoders::AutoencoderKlConfig;
use danqing_models::unet::UnetConfig;

use crate::TaskError;

/// Bytes that a task is expected to hold at its worst moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Weights.
    pub weights: u64,
    /// Activations of one U-Net evaluation.
    pub sampling: u64,
    /// Activations of decoding (one tile, if tiled).
    pub decoding: u64,
}

/// What the plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// The U-Net.
    pub unet: &'a UnetConfig,
    /// The autoencoder.
    pub autoencoder: &'a AutoencoderKlConfig,
    /// Bytes of all weights as held.
    pub weights: u64,
    /// Rows of the U-Net's batch (two for each picture under guidance).
    pub batch: usize,
    /// Latent height.
    pub height: usize,
    /// Latent width.
    pub width: usize,
    /// Bytes of an activation.
    pub value_bytes: usize,
    /// Latent side of a decoding tile; `None` decodes in one piece.
    pub tile: Option<usize>,
}

impl MemoryPlan {
    /// Plans a task.
    pub fn of(input: &PlanInput<'_>) -> Self {
        let PlanInput { unet, autoencoder, batch, height, width, value_bytes, tile, .. } = *input;
        let bytes = |cells: usize, channels: usize, maps: usize| (cells * channels * maps * value_bytes) as u64;
        let cells = batch * height * width;
        // Skips of every level stay until the way up: one map for each layer and sampler.
        let mut skips = 0;
        for (i, c) in unet.block_out_channels.iter().enumerate() {
            let shrunk = cells.div_ceil(1 << (2 * i));
            skips += bytes(shrunk, *c, unet.layers_per_block.at(i) + 1);
        }
        // At its widest a level holds input, normed copy, padded copy, output and the feed-forward's eight widths.
        let widest = unet.block_out_channels.first().copied().unwrap_or(0);
        let sampling = skips + bytes(cells, widest, 16);

        let side = |latent: usize| tile.map_or(latent, |t| latent.min(t)) * autoencoder.downscale();
        let pixels = side(height) * side(width);
        let outermost = autoencoder.block_out_channels.first().copied().unwrap_or(0);
        let next = autoencoder.block_out_channels.get(1).copied().unwrap_or(outermost);
        let decoding = bytes(pixels, next.max(outermost), 3) + bytes(pixels, outermost, 2);
        Self { weights: input.weights, sampling, decoding }
    }

    /// The worst moment.
    pub fn peak(&self) -> u64 {
        self.weights + self.sampling.max(self.decoding)
    }

    /// Refuses a task that cannot fit into `available` bytes.
    ///
    /// # Errors
    /// When the peak is above it; the sentence says what would help.
    pub fn check(&self, available: u64) -> Result<(), TaskError> {
        if self.peak() <= available {
            return Ok(());
        }
        Err(TaskError::Memory { needed: self.peak(), available })
    }
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |b: u64| b.div_ceil(1 << 20);
        write!(
            f,
            "about {} MiB at the peak (weights {}, sampling {}, decoding {})",
            mib(self.peak()),
            mib(self.weights),
            mib(self.sampling),
            mib(self.decoding)
        )
    }
}

/// Bytes that the system says can still be had, where it says so (Linux: `MemAvailable`).
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
