//! numpy's `SeedSequence`: many seeds from one, after M. E. O'Neill's "Developing a seed_seq alternative" (2015). torchsde
//! seeds the nodes of its Brownian tree with it.

const MULT_A: u32 = 0x931e_8875;
const MULT_B: u32 = 0x58f3_8ded;

/// A pool of mixed entropy.
#[derive(Debug, Clone)]
pub(crate) struct SeedSequence {
    pool: Vec<u32>,
}

impl SeedSequence {
    /// `numpy.random.SeedSequence(entropy, spawn_key=spawn_key, pool_size=pool_size)`.
    pub(crate) fn new(entropy: u64, spawn_key: &[u64], pool_size: usize) -> Self {
        let mut words = words_of(entropy);
        if !spawn_key.is_empty() && words.len() < pool_size {
            words.resize(pool_size, 0);
        }
        words.extend(spawn_key.iter().flat_map(|key| words_of(*key)));

        let mut constant = 0x43b0_d7e5u32;
        let mut hash = |value: u32| {
            let value = value ^ constant;
            constant = constant.wrapping_mul(MULT_A);
            let value = value.wrapping_mul(constant);
            value ^ (value >> 16)
        };
        let mut pool: Vec<u32> = (0..pool_size).map(|i| hash(words.get(i).copied().unwrap_or(0))).collect();
        for source in 0..pool_size {
            for target in (0..pool_size).filter(|target| *target != source) {
                pool[target] = mix(pool[target], hash(pool[source]));
            }
        }
        for word in words.iter().skip(pool_size) {
            for value in &mut pool {
                *value = mix(*value, hash(*word));
            }
        }
        SeedSequence { pool }
    }

    /// The first word of `generate_state`.
    pub(crate) fn first(&self) -> u32 {
        self.state().next().unwrap_or(0)
    }

    /// The words of `generate_state`.
    pub(crate) fn state(&self) -> impl Iterator<Item = u32> {
        let mut constant = 0x8b51_f9ddu32;
        self.pool.iter().cycle().map(move |word| {
            let value = word ^ constant;
            constant = constant.wrapping_mul(MULT_B);
            let value = value.wrapping_mul(constant);
            value ^ (value >> 16)
        })
    }
}

fn mix(x: u32, y: u32) -> u32 {
    let value = 0xca01_f9ddu32.wrapping_mul(x).wrapping_sub(0x4973_f715u32.wrapping_mul(y));
    value ^ (value >> 16)
}

/// The 32-bit words of a number, low first, without leading zeros.
fn words_of(number: u64) -> Vec<u32> {
    let (low, high) = (number as u32, (number >> 32) as u32);
    if high == 0 { vec![low] } else { vec![low, high] }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// numpy 1.26.4: `SeedSequence(42).generate_state(3)`, `SeedSequence(2**40 + 7, spawn_key=(5, 3), pool_size=24)`.
    #[test]
    fn numpys_values() {
        let four: Vec<u32> = SeedSequence::new(42, &[], 4).state().take(3).collect();
        assert_eq!(four, [0xcd540ab7, 0x9f1e2e6d, 0x79fb94b6]);
        let spawned: Vec<u32> = SeedSequence::new((1 << 40) + 7, &[5, 3], 24).state().take(3).collect();
        assert_eq!(spawned, [0x10617802, 0x76f29aea, 0xb7bdd303]);
    }
}
