//! The random numbers of simulations, and the choices of a fuzzer in place of them.

/// A small deterministic random number generator (splitmix64), for simulations only.
#[derive(Clone, Debug)]
pub struct SimRng {
    state: u64,
    /// What a fuzzer chooses, last first.
    choices: Vec<u8>,
}

impl SimRng {
    /// The generator with this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed, choices: Vec::new() }
    }

    /// A generator whose choices among few come from these bytes, one byte each, so that a fuzzer can make them. When
    /// they are used up it goes on like one with seed 0.
    #[must_use]
    pub fn of_choices(bytes: &[u8]) -> Self {
        Self { state: 0, choices: bytes.iter().rev().copied().collect() }
    }

    /// Whether there are bytes left that [`SimRng::of_choices`] was given.
    #[must_use]
    pub fn has_choices(&self) -> bool {
        !self.choices.is_empty()
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        match (bound, self.choices.pop()) {
            (0, choice) => {
                self.choices.extend(choice);
                0
            }
            (..=256, Some(choice)) => u64::from(choice) % bound,
            (_, choice) => {
                // A large number is not worth a fuzzer's bytes.
                self.choices.extend(choice);
                self.next_u64() % bound
            }
        }
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
