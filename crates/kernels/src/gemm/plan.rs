//! How a product is cut: into tasks for the threads, and inside a task so that what is read again is still cached.
//!
//! Either a *chunk* of B stays cached while all rows pass by, or a *block* of rows stays cached while all of B passes by,
//! whichever reads less from far away. No result depends on the cut: each output is one sum in one order.

use super::micro::TILE;
use super::packed::PANEL;
use crate::isa::Isa;

/// The sizes that decide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub tiles: usize,
    /// Bytes of one tile's rows of A, whatever the number of taps: their rows overlap.
    pub tile_bytes: usize,
    pub groups: usize,
    /// Bytes of the widest group of B.
    pub group_bytes: usize,
    /// How often a row of A is read for one group.
    pub taps: usize,
    /// Whether products outrun what the second-level cache gives of B.
    pub fast: bool,
    /// Multiplications and additions in all.
    pub work: usize,
    pub threads: usize,
}

/// A way to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Tiles of a task (even, but for the last).
    pub tiles_per_task: usize,
    pub row_tasks: usize,
    pub group_tasks: usize,
    /// Groups that are multiplied with a pair of tiles before the next pair.
    pub at_once: usize,
    /// Whether the next group should be fetched meanwhile: it comes from far away.
    pub fetch: bool,
    /// Whether B comes from beyond the first-level cache for each pair of tiles.
    pub far: bool,
    /// Whether neighbouring tasks share their rows; else they share their groups.
    pub rows_stay: bool,
}

/// Multiplications and additions, or bytes of B, that make a task worth its start.
const TASK_WORK: usize = 16 << 20;
const TASK_BYTES: usize = 256 << 10;
/// Tasks for each thread: enough that one who is held up does not hold up the rest.
const PER_THREAD: usize = 4;

/// Bytes that one operand may take of the second-level cache: half of it.
fn half_a_cache(isa: Isa) -> usize {
    // Every processor with AMX has 2 MiB; others may have less than 1.
    if isa == Isa::Amx { 1 << 20 } else { 512 << 10 }
}

/// Bytes of B that stay in a first-level cache of 48 KiB beside rows of A.
const NEAREST: usize = 24 << 10;

impl Plan {
    pub fn of(isa: Isa, sizes: Sizes) -> Plan {
        let Sizes { tiles, tile_bytes, groups, group_bytes, taps, fast, work, threads } = sizes;
        let half = half_a_cache(isa);
        let chunk = (half / group_bytes.max(1)).clamp(1, groups);
        let block = (half / tile_bytes.max(1)).max(4) & !1;
        let (chunks, blocks) = (groups.div_ceil(chunk), tiles.div_ceil(block));
        let (a, b) = (tiles * tile_bytes, groups * group_bytes);
        let rows_stay = chunks > 1 && (blocks == 1 || b * blocks + a < a * chunks + b);
        let most = if threads == 1 { 1 } else { PER_THREAD * threads };
        let wanted = (work / TASK_WORK).max(b / TASK_BYTES).clamp(1, most);
        if rows_stay {
            let group_tasks = wanted.div_ceil(blocks).min(groups);
            return Plan {
                tiles_per_task: block,
                row_tasks: blocks,
                group_tasks,
                at_once: 1,
                fetch: true,
                far: group_bytes > NEAREST,
                rows_stay,
            };
        }
        // Rows are cut first, but not finer than pays for fetching the chunk of B anew.
        let tiles_per_task = tiles.div_ceil(wanted.div_ceil(chunks)).max(tiles.min(8)).next_multiple_of(2);
        let row_tasks = tiles.div_ceil(tiles_per_task);
        let group_tasks = chunks.max(wanted.div_ceil(row_tasks)).min(groups);
        // Where a row of A is read several times for one group, the nearest cache gives more if B stays there.
        let near = fast && taps > 1 && group_bytes <= NEAREST && tiles_per_task * tile_bytes <= half;
        let at_once = if near { 1 } else { chunk };
        let far = at_once * group_bytes > NEAREST;
        Plan { tiles_per_task, row_tasks, group_tasks, at_once, fetch: chunk == 1, far, rows_stay }
    }

    pub fn tasks(&self) -> usize {
        self.row_tasks * self.group_tasks
    }

    /// The rows' and the groups' number of a task.
    pub fn parts(&self, task: usize) -> (usize, usize) {
        if self.rows_stay {
            (task / self.group_tasks, task % self.group_tasks)
        } else {
            (task % self.row_tasks, task / self.row_tasks)
        }
    }
}

/// Floats of the sums between the product and its end: about what stays in the first-level cache.
const SUMS: usize = 8 << 10;

/// Groups of `panels` panels whose sums are finished together, `sets` of sums being held at a time.
pub(super) fn groups_per_finish(panels: usize, sets: usize) -> usize {
    (SUMS / (2 * TILE * panels * PANEL * sets)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(isa: Isa, tiles: usize, k: usize, taps: usize, groups: usize, threads: usize) -> Plan {
        let (tile_bytes, group_bytes) = (TILE * k * 2, 2 * PANEL * k * taps * 2);
        let work = tiles * TILE * groups * 32 * k * taps * 2;
        Plan::of(isa, Sizes { tiles, tile_bytes, groups, group_bytes, taps, fast: isa == Isa::Amx, work, threads })
    }

    #[test]
    fn tasks_cover_every_tile_and_group_once() {
        for isa in [Isa::Scalar, Isa::Amx] {
            for (tiles, groups) in [(1, 1), (5, 40), (16, 40), (255, 3), (256, 10), (256, 80), (16_384, 4), (1, 320)] {
                for (k, taps) in [(3, 1), (320, 9), (1280, 9), (5120, 1)] {
                    for threads in [1, 2, 7] {
                        let plan = plan(isa, tiles, k, taps, groups, threads);
                        let mut seen = vec![0; tiles * groups];
                        for (rows, columns) in (0..plan.tasks()).map(|task| plan.parts(task)) {
                            let part = |i: usize| i * groups / plan.group_tasks;
                            assert!(rows < plan.row_tasks && part(columns) < part(columns + 1), "{plan:?}");
                            for tile in rows * plan.tiles_per_task..tiles.min((rows + 1) * plan.tiles_per_task) {
                                (part(columns)..part(columns + 1)).for_each(|g| seen[tile * groups + g] += 1);
                            }
                        }
                        assert!(seen.iter().all(|&count| count == 1), "{plan:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_fits_stays() {
        // 16 x 16 pixels of 1280 channels fit, the 29 MB of weights do not: each weight is read once.
        let deep = plan(Isa::Amx, 16, 1280, 9, 40, 1);
        assert_eq!((deep.row_tasks, deep.at_once, deep.rows_stay), (1, 1, true));
        // The weights of a linear layer at 64 x 64 fit: each row is read once.
        let wide = plan(Isa::Amx, 256, 320, 1, 10, 1);
        assert_eq!((wide.group_tasks, wide.at_once, wide.rows_stay), (1, 10, false));
    }

    #[test]
    fn what_the_nearest_cache_cannot_hold_passes_it_by() {
        // 18 KiB of filters stay; of 36 KiB a group, or of many groups, the next pair of tiles would find nothing.
        assert!(!plan(Isa::Amx, 1024, 32, 9, 1, 1).far);
        assert!(plan(Isa::Amx, 1024, 64, 9, 2, 1).far);
        assert!(plan(Isa::Amx, 256, 320, 1, 10, 1).far);
    }
}
