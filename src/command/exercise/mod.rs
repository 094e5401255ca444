//! Any bytes as a history of commands, with oracles: for the fuzz target `argv` and for a test beside it.
//!
//! [`script`] makes steps of bytes, guided by the command table; [`world`] carries them out on an engine on a simulated
//! disk and clock, the way the server's connections would, and looks at everything that comes back; [`wire`] says
//! whether a reply is one well-formed value. What fails says so by a panic.

mod script;
mod wire;
mod world;

/// Carries out what the bytes say. Panics if anything is not as it must be.
pub(crate) fn exercise(bytes: &[u8]) {
    let mut world = world::World::new();
    for step in script::Script::new(bytes).take(STEPS_MAX) {
        world.step(&step);
    }
    world.end();
}

/// What is beyond is not looked at: long histories find little that short ones do not, and take long.
const STEPS_MAX: usize = 100;

#[cfg(test)]
mod tests;
